// What one decoded instruction is to the machine: the memory it will touch (asked before it runs, so that the explorer
// can stop in front of a shared access), and a closure that performs it.
import type { CpuRegisterFile, Size } from "./registers.ts";

/** Memory as an instruction sees it. Sizes in bytes; values zero-extended. */
export interface Bus {
  load(address: bigint, size: Size): bigint;
  store(address: bigint, size: Size, value: bigint): void;
}

/** "locked": load and store as one step, with the store buffer drained first. "load-store": two steps, as `incb` is without LOCK. */
export type AccessKind = "load" | "store" | "load-store" | "locked";

export interface Access {
  readonly kind: AccessKind;
  readonly size: Size;
  /** The virtual address, from the registers as they are before the instruction. */
  address(cpu: CpuRegisterFile): bigint;
  /** Tells whether the access happens at all, from the registers before; always when left out. */
  when?(cpu: CpuRegisterFile): boolean;
}

/** What an instruction asks of the world beyond memory; the environment answers. */
export type EventName = "halt" | "hypercall" | "read-msr" | "trap";

export interface Effect {
  readonly accesses: readonly Access[];
  /** MFENCE: waits until the store buffer is empty. Locked accesses imply it. */
  readonly fence?: boolean;
  readonly event?: EventName;
  /** Its accesses may happen in any order: REP string operations. Only private memory bears that. */
  readonly unordered?: boolean;
  /** Performs the instruction. RIP already stands at the next one; a branch overwrites it. */
  run(cpu: CpuRegisterFile, bus: Bus): void;
}

export interface Operation extends Effect {
  readonly address: bigint;
  readonly next: bigint;
  readonly bytes: Uint8Array;
}
