// The state of one CPU between two accesses to shared memory: registers, the position in its program, and the memory
// that only it uses. Equal states get equal numbers, so that the explorer never compares registers.
import type { Cell } from "./cells.ts";

/** A frozen local state. */
export interface LocalState {
  readonly cpu: number;
  readonly general: BigUint64Array;
  readonly rip: bigint;
  readonly flags: number;
  /** Index of the phase it is in, counted over all rounds; the number of phases when it has finished. */
  readonly phase: number;
  /** Position inside a critical section: 0 before the load, 1 before the store, 2 after. */
  readonly position: number;
  /** RAX at the end of the last run, while some later entry needs it. */
  readonly result: bigint;
  /** Store id that has been executed and not yet entered the store buffer; -1 for none. */
  readonly pending: number;
  /** The registers before dead ones were forgotten, where that changed any; not part of the state. */
  readonly forgotten?: { readonly general: BigUint64Array; readonly flags: number };
  /** Private cells whose value is not the initial one, by address. */
  readonly memory: readonly (readonly [Cell, bigint])[];
}

// What a CPU does next, as seen by the others.
/** plain load of a shared place */
export const LOAD = 0;
/** locked instruction, or an operation of the environment: atomic on a shared place, store buffer empty */
export const ATOMIC = 1;
/** goes on once the store buffer is empty */
export const FENCE = 2;
/** a store that enters the store buffer (or memory, with the model "sc") */
export const STORE = 3;
/** sleeps until a pending bit is set */
export const WAIT = 4;
/** has finished its program */
export const DONE = 5;
/** runs for ever without touching anything shared */
export const STUCK = 6;
/** cannot go on: trap, unknown instruction, absent memory, interrupts not restored */
export const FAULT = 7;

export type FaultKind = "trap" | "unsupported" | "bound" | "interrupts";

export interface Fault {
  readonly kind: FaultKind;
  readonly reason: string;
}

/** How often a spin goes on from some state, and its flags then. Kept when an exploration starts again. */
export interface SpinLength {
  readonly iterations: number;
  readonly flags: number;
}

/** The key under which a local state is remembered. */
export function localKey(s: LocalState): string {
  const words = new BigUint64Array(16 + 6 + s.memory.length * 2);
  words.set(s.general);
  words[16] = s.rip;
  words[17] = BigInt(s.flags);
  words[18] = BigInt(s.cpu) | (BigInt(s.phase) << 8n) | (BigInt(s.position) << 40n);
  words[19] = BigInt(s.pending + 1);
  words[20] = s.result;
  words[21] = BigInt(s.memory.length);
  let at = 22;
  for (const [cell, value] of s.memory) {
    words[at++] = cell.address;
    words[at++] = value;
  }
  const units = new Uint16Array(words.buffer);
  let key = "";
  for (let i = 0; i < units.length; i += 1024) key += String.fromCharCode(...units.subarray(i, i + 1024));
  return key;
}
