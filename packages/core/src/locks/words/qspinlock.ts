// Queued spinlocks (include/asm-generic/qspinlock_types.h, 4.2 and newer): locked byte, pending byte, and the tail of the
// queue: which CPU's MCS node came last.
import { getU16 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes } from "../../x86/encode.ts";
import type { LockState, LockWord } from "./types.ts";

/** _Q_SLOW_VAL: a paravirt waiter sleeps and is to be kicked by the unlock (qspinlock_paravirt.h). */
const SLOW = 3;

export interface QueuedWord extends LockWord {
  readonly locked: number;
  readonly pending: number;
  /** the 16 bits of the tail; 0 for no queue */
  readonly tail: number;
  /** CPU of the last waiter in the queue; undefined for no queue */
  readonly tailCpu: number | undefined;
  /** Which of that CPU's four MCS nodes: one a context. */
  readonly tailIndex: number;
}

/**
 * @param bytes the 4 bytes of the word
 * @param cpus possible CPUs
 * @param paravirt whether any code that runs is the paravirt kind; undefined when unknown
 */
export function decodeQspinlock(bytes: Uint8Array, cpus: number, paravirt?: boolean): QueuedWord {
  const locked = bytes[0];
  const pending = bytes[1];
  const tail = getU16(bytes, 2);
  // NR_CPUS below 16 Ki: idx in bits 16 and 17, cpu + 1 from bit 18 on (_Q_TAIL_CPU_OFFSET).
  const tailCpu = tail === 0 ? undefined : (tail >> 2) - 1;
  const tailIndex = tail & 3;
  const problems: string[] = [];
  if (locked !== 0 && locked !== 1 && locked !== SLOW) problems.push(`the locked byte is ${locked}`);
  if (locked === SLOW && paravirt === false) {
    problems.push("the locked byte is 3 (_Q_SLOW_VAL), which only paravirt waiters write, and none runs here");
  }
  if (pending > 1) problems.push(`the pending byte is ${pending}`);
  if (tailCpu !== undefined && (tailCpu < 0 || tailCpu >= cpus)) {
    problems.push(`the tail 0x${tail.toString(16)} names CPU ${tailCpu}, there are ${cpus}`);
  }
  const waits = pending !== 0 || tail !== 0;
  const state: LockState =
    problems.length > 0 ? "impossible" : waits || locked === SLOW ? "contended" : locked ? "held" : "free";
  const parts = [
    locked === 0 ? (waits ? "not held: it is being handed over" : "free") : "held",
    locked === SLOW ? "its first waiter sleeps and must be kicked" : "",
    pending !== 0 ? "one CPU waits with the pending bit" : "",
    tailCpu !== undefined ? `the queue ends with CPU ${tailCpu}, MCS node ${tailIndex}` : "",
  ].filter((part) => part !== "");
  const fields: Record<string, string | number> = { locked, pending };
  if (tailCpu === undefined) fields.tail = 0;
  else {
    fields.tailCpu = tailCpu;
    fields.tailNode = tailIndex;
  }
  const meaning = state === "impossible" ? problems.join("; ") : parts.join(", ");
  return {
    type: "queued spinlock",
    state,
    bytes: hexBytes(bytes.subarray(0, 4)),
    fields,
    meaning,
    problems,
    locked,
    pending,
    tail,
    tailCpu,
    tailIndex,
  };
}

/** encode_tail(): what the tail holds when this CPU's node is the last. */
export function encodeTail(cpu: number, index: number): number {
  return ((cpu + 1) << 2) | index;
}
