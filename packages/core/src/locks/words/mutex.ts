// struct mutex (include/linux/mutex.h): since 4.10 owner and flags in one word, before that a counter. On PREEMPT_RT it
// is an rt_mutex.

import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes } from "../../x86/encode.ts";
import { provedCounted, provedListAt, toldBy } from "./proved-layout.ts";
import { decodeRtMutex } from "./rt-mutex.ts";
import type { LockState, LockWord, TaskFact } from "./types.ts";
import { nameTask, readWaiters, taskFact } from "./waiters.ts";

const TYPE = "struct mutex";
/** MUTEX_FLAG_WAITERS, MUTEX_FLAG_HANDOFF, MUTEX_FLAG_PICKUP (kernel/locking/mutex.h) */
const FLAGS: readonly (readonly [number, string])[] = [
  [1, "waiters"],
  [2, "handoff"],
  [4, "pickup"],
];

/** The names of the flags that are set. */
export function flagNames(value: number, flags: readonly (readonly [number, string])[]): string {
  const names = flags.filter(([bit]) => (value & bit) !== 0).map(([, name]) => name);
  return names.length === 0 ? "none" : names.join(", ");
}

/**
 * The struct mutex at `lock`.
 * @throws AddressError when it is not in the dump
 */
export function decodeMutex(kernel: Kernel, lock: VirtualAddress): LockWord {
  const s = kernel.structures;
  if (s.has(TYPE, "rtmutex"))
    return { ...decodeRtMutex(kernel, addressAdd(lock, s.offset(TYPE, "rtmutex"))), type: "mutex (rt_mutex)" };
  const size = kernel.types.sizeOf(TYPE) ?? 32;
  const bytes = hexBytes(kernel.memory.read(lock, Math.min(size, 64)));
  const list = toldBy(kernel, TYPE) ? 0 : provedListAt(kernel, TYPE, lock);
  const { waiters, problem } = readWaiters(kernel, lock, TYPE, "struct mutex_waiter", list);
  const problems = problem === undefined ? [] : [problem];
  const told = s.has(TYPE, "count") || s.has(TYPE, "owner");
  const counted = told ? s.has(TYPE, "count") : provedCounted(kernel, lock);
  if (counted) return counterMutex(kernel, lock, bytes, waiters, problems, list);
  const word = told ? s.unsigned(lock, TYPE, "owner") : kernel.memory.u64(lock);
  const flags = Number(word & 7n);
  const owner = word & ~7n;
  const fact = owner === 0n ? undefined : taskFact(kernel, owner);
  if (fact !== undefined && fact.pid < 0) problems.push(`its owner word leads to ${fact.address}, where no task is`);
  if (waiters.length > 0 && (flags & 1) === 0) problems.push("tasks are on its list, but its waiters flag is clear");
  return {
    type: "mutex",
    ...judge(fact, waiters.length > 0 || (flags & 1) !== 0, problems, owner !== 0n && fact?.pid === -1),
    bytes,
    fields: {
      owner: owner === 0n ? "none" : `0x${owner.toString(16)}`,
      flags: flagNames(flags, FLAGS),
      waiters: waiters.length,
    },
    owner: fact,
    waiters,
    problems,
  };
}

function judge(
  owner: TaskFact | undefined,
  waits: boolean,
  problems: readonly string[],
  impossible: boolean,
): { state: LockState; meaning: string } {
  const held = owner === undefined ? "free" : `held by ${nameTask(owner)}`;
  const state: LockState = impossible ? "impossible" : waits ? "contended" : owner === undefined ? "free" : "held";
  return { state, meaning: impossible ? problems.join("; ") : `${held}${waits ? ", tasks wait" : ""}` };
}

/** Up to 4.9: 1 free, 0 held, negative held with waiters; an owner behind it where spinning on owners is built in. */
function counterMutex(
  kernel: Kernel,
  lock: VirtualAddress,
  bytes: string,
  waiters: LockWord["waiters"] & object,
  problems: string[],
  provedList: number,
): LockWord {
  const s = kernel.structures;
  const count = kernel.memory.u32(addressAdd(lock, s.find(TYPE, "count")?.offset ?? 0)) | 0;
  const list = s.find(TYPE, "wait_list")?.offset ?? provedList;
  const ownerAt = s.find(TYPE, "owner")?.offset ?? list + 16;
  const pointer = kernel.memory.tryRead(addressAdd(lock, ownerAt), 8);
  let owner: TaskFact | undefined;
  if (pointer !== undefined && count <= 0) {
    const value = getU64(pointer, 0);
    // A struct task_struct since 3.10, before that a struct thread_info, whose first member is the task.
    const direct = taskFact(kernel, value);
    const through =
      direct.pid < 0 && value !== 0n ? kernel.memory.tryRead(addressAdd(value as VirtualAddress, 0), 8) : undefined;
    const fact = through === undefined ? direct : taskFact(kernel, getU64(through, 0));
    if (fact.pid >= 0) owner = fact;
  }
  const impossible = count > 1;
  if (impossible) problems.push(`its count is ${count}; 1 is free`);
  const waits = count < 0 || waiters.length > 0;
  const held =
    count === 1 ? "free" : owner === undefined ? "held, the owner is not told" : `held by ${nameTask(owner)}`;
  return {
    type: "mutex",
    state: impossible ? "impossible" : waits ? "contended" : count === 1 ? "free" : "held",
    meaning: impossible ? problems.join("; ") : `${held}${waits ? ", tasks wait" : ""}`,
    bytes,
    fields: { count, waiters: waiters.length },
    owner,
    waiters,
    problems,
  };
}
