// The plain data of a run on real Xen: what was asked for, how it ended, what its xen.json tells. No code of QEMU in
// it, so that the table of docs/xen.md and tests can name runs without being able to make them.
import type { GuestModule } from "../guest.ts";

export const guestTypes = ["hvm", "pvh"] as const;
export type GuestType = (typeof guestTypes)[number];

/**
 * How a guest ended. `booted`: ready, and its heartbeat went round all vCPUs. `hung`: heartbeat or console still.
 * `crashed`: it panicked or Xen stopped it. `emulation`: QEMU, Xen or dom0 gave up, which says nothing of the guest.
 */
export const outcomes = ["booted", "hung", "crashed", "emulation"] as const;
export type Outcome = (typeof outcomes)[number];

/** What is done to the lock slots after boot, and what against it. */
export const repairs = ["none", "slots-back", "patched-again", "back-before-load"] as const;
export type Repair = (typeof repairs)[number];

/** The change of the slots: to Xen's functions (the bug's direction), or from them to the native ones. */
export interface LateSwitch {
  readonly to: "xen" | "native";
  readonly repair: Repair;
}

export interface XenGuest {
  /** Of domain and folder: letters, digits, "-". */
  readonly name: string;
  readonly type: GuestType;
  readonly vcpus: number;
  readonly memoryMegabytes: number;
  /** Added to the guest kernel's command line. */
  readonly append: string;
  /** Asked-for modules of its package, loaded in order with what they need. */
  readonly modules: readonly string[];
  /** xl options beyond the usual ("xen_platform_pci=0"). */
  readonly config: readonly string[];
  readonly late?: LateSwitch;
}

/** A guest with the kernel that it boots, ready to be written into a session's disk. */
export interface PreparedGuest extends XenGuest {
  readonly vmlinuz: string;
  readonly release: string;
  readonly given: readonly GuestModule[];
  readonly script: string;
}

/** What one vCPU was doing while its domain stood still, as xenctx said. */
export interface VcpuState {
  readonly vcpu: number;
  /** Unsigned 64-bit, hex with 0x. */
  readonly rip: string;
  /** xl's letters: "r--", "-b-", "--p". */
  readonly state: string;
}

/** One try of a guest. */
export interface GuestResult {
  readonly outcome: Outcome;
  /** One line: why it is that. */
  readonly reason: string;
  readonly createSeconds: number;
  readonly bootSeconds: number;
  readonly dumpSeconds: number;
  readonly beats: number;
}

/** The content of xen.json. */
export interface XenFacts extends XenGuest {
  readonly flavour: string;
  readonly release: string;
  readonly xenVersion: string;
  readonly dom0Release: string;
  readonly qemuVersion: string;
  readonly xenArguments: string;
  readonly date: string;
  readonly result: GuestResult;
  /** How each try ended, this one last. */
  readonly tries: readonly { readonly outcome: Outcome; readonly reason: string }[];
  readonly vcpuStates: readonly VcpuState[];
  readonly coreBytes: number;
}

export const defaultGuest: Omit<XenGuest, "name" | "type"> = {
  vcpus: 2,
  memoryMegabytes: 160,
  append: "",
  modules: ["floppy", "loop", "dm-mod", "ext4"],
  config: [],
};
