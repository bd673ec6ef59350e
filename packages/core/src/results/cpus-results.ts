// The result of `cpus`: what each CPU was doing when the dump was taken.
import type { DumpFacts, KernelFacts } from "./results.ts";

export interface StackFrame {
  /** where it stands: the instruction pointer for the first, a return address for the others */
  readonly address: string;
  /** "native_safe_halt+0xb", "floppy_interrupt+0x12 [floppy]" */
  readonly symbol: string;
  /** where on the stack the return address lies; null for the first */
  readonly at: string | null;
  /** the call before the return address leads to the frame below; false when that could not be seen */
  readonly checked: boolean;
}

/** What was executed, and under it what each interrupt interrupted. */
export interface CpuLevel {
  /** 0: what the CPU was executing; 1: what that interrupted … */
  readonly level: number;
  readonly rip: string;
  readonly interruptsOff: boolean;
  readonly registers: Readonly<Record<string, string>>;
  readonly frames: readonly StackFrame[];
}

export interface CpuLockWait {
  readonly level: number;
  readonly kind: "spinlock" | "read" | "write";
  /** "ticket", "queued", "pv-queued", "byte" … */
  readonly implementation: string;
  /** null when nothing tells which lock it is */
  readonly lock: { readonly address: string; readonly symbol: string } | null;
  /** what told the lock: "rdi", "its MCS node" … */
  readonly evidence: string;
  /** false when the lock is a guess, or not told at all */
  readonly proved: boolean;
  /** of ticket locks */
  readonly ticket: number | null;
  /** sleeps in the hypervisor until it is woken */
  readonly asleep: boolean;
}

export interface CpuFact {
  readonly cpu: number;
  /** null when the kernel does not tell */
  readonly online: boolean | null;
  readonly task: {
    /** "0x…" of the struct task_struct */
    readonly address: string;
    readonly pid: number;
    readonly comm: string;
  } | null;
  /** "NT_PRSTATUS", "QEMU", "xen"; null when the dump has no registers of this CPU */
  readonly source: string | null;
  /**
   * "outside": in the kernel's half, but in no code of core or modules (generated code, firmware); "not-started": the kernel
   * never woke this CPU, and its registers are those of a reset
   */
  readonly mode: "kernel" | "user" | "outside" | "not-started" | null;
  readonly interruptsOff: boolean | null;
  /** "0x…" by name: rip, rsp, rflags, rax … */
  readonly registers: Readonly<Record<string, string>>;
  readonly symbol: string | null;
  readonly levels: readonly CpuLevel[];
  readonly waits: readonly CpuLockWait[];
}

/** Result of `cpus`. */
export interface CpusResult {
  readonly schema: "palimpsest/cpus/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly cpus: readonly CpuFact[];
  /** what could not be read, and facts about the input */
  readonly notes: readonly string[];
}
