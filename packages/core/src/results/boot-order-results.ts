// What `boot-order` returns: who writes the slots that a kernel's boot patches into its code, and when.
import type { FindingBase } from "./types.ts";

/** One step on a way through the boot. */
export interface BootStep {
  /** the function that is come to */
  readonly function: string;
  readonly address: string;
  /**
   * "start": the way begins here; "call" and "jump" as the code says; "slot": through a pointer that holds the function;
   * "initcall" and "thread": run by the kernel for the one before. Not seen in the code, but possible: "address" (the
   * one before takes its address) and "structure" (the one before refers to a structure that has its address).
   */
  readonly how: "start" | "call" | "jump" | "slot" | "initcall" | "thread" | "address" | "structure";
  /** the instruction in the function before; null for "start" */
  readonly at: string | null;
  /** the slot or structure */
  readonly through: string | null;
  /** function that put this one into the slot; null when the slot is built so */
  readonly setBy: string | null;
}

/** When a function runs, seen from the patching of the slot's sites. */
export type BootMoment = "before" | "after" | "before and after" | "not reached";

/** A slot written after the boot has patched the calls through it: the patched calls go on with the old value. */
export interface LateSlotWriteFinding extends FindingBase {
  readonly id: "boot.late-slot-write";
  /** how the kernel was entered when it is so: "native", "Xen PV"; the ways are those of the first */
  readonly entries: readonly string[];
  readonly writer: string;
  readonly slots: readonly {
    readonly name: string;
    readonly address: string;
    /** the function that is stored; null when the code does not tell */
    readonly value: string | null;
    readonly sites: number;
    /** function that stores the same value before the patching */
    readonly sameBefore: string | null;
  }[];
  /** from the first function of the boot to the writer */
  readonly path: readonly BootStep[];
  /** from the first function of the boot to the one that has the sites patched */
  readonly patchPath: readonly BootStep[];
  /** how the functions ran that put others into the slots on the path */
  readonly setters: readonly { readonly slot: string; readonly function: string; readonly path: readonly BootStep[] }[];
  /** variables that the functions on the path test before they go on */
  readonly tests: readonly { readonly function: string; readonly variable: string }[];
}

/** Result of `boot-order`. */
export interface BootOrderResult {
  readonly schema: "palimpsest/boot-order/1";
  readonly tool: string;
  readonly image: {
    readonly path: string;
    /** "vmlinux", "bzImage (xz)" */
    readonly container: string;
    readonly release: string | null;
    readonly version: string | null;
    readonly buildId: string | null;
    /** where names come from */
    readonly symbols: string;
  };
  /** Tables by which calls through slots are patched; none without CONFIG_PARAVIRT. */
  readonly tables: readonly {
    readonly name: string;
    readonly slots: number;
    readonly sites: number;
    /** sites that hold no indirect call: native instructions */
    readonly others: number;
    readonly boots: readonly {
      readonly entry: string;
      readonly function: string;
      /** null when no way from the entry to the patching was found */
      readonly patchPath: readonly BootStep[] | null;
      /** functions that may run in each half, and indirect calls there whose targets are not known */
      readonly before: { readonly functions: number; readonly notFollowed: number };
      readonly after: { readonly functions: number; readonly notFollowed: number };
    }[];
    readonly writers: readonly {
      readonly function: string;
      readonly address: string;
      readonly slots: readonly string[];
      readonly boots: readonly {
        readonly entry: string;
        readonly moment: BootMoment;
        readonly before: readonly BootStep[] | null;
        readonly after: readonly BootStep[] | null;
      }[];
    }[];
    /** functions that take the address of slots and were not seen to write them */
    readonly unclear: readonly string[];
  }[];
  readonly findings: readonly LateSlotWriteFinding[];
  /** what was not followed, and facts about the input */
  readonly notes: readonly string[];
}
