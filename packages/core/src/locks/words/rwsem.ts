// struct rw_semaphore (include/linux/rwsem.h): a count of readers with flags since 5.3, biased counts before. On PREEMPT_RT
// readers are counted beside an rt_mutex.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { hexBytes } from "../../x86/encode.ts";
import { flagNames } from "./mutex.ts";
import { provedListAt, provedModernRwsem, toldBy } from "./proved-layout.ts";
import { decodeRtMutex } from "./rt-mutex.ts";
import type { LockState, LockWord, TaskFact, WaiterFact } from "./types.ts";
import { nameTask, readWaiters, taskFact } from "./waiters.ts";

const TYPE = "struct rw_semaphore";
/** kernel/locking/rwsem.c since 5.3 */
const FLAGS: readonly (readonly [number, string])[] = [
  [1, "writer locked"],
  [2, "waiters"],
  [4, "handoff"],
];
const READER_SHIFT = 8n;
/** RWSEM_ACTIVE_MASK and RWSEM_WAITING_BIAS on 64 bits, up to 5.2 */
const ACTIVE_MASK = 0xffffffffn;
/** {atomic_long_t count; atomic_long_t owner; …}, 5.3 and newer */
const OWNER_AT = 8;
/** READER_BIAS and WRITER_BIAS of struct rwbase_rt (kernel/locking/rwbase_rt.c, 5.15 and newer, and RT patches before) */
const RT_READER_BIAS = 0x80000000;
const RT_WRITER_BIAS = 0x40000000;

/**
 * The struct rw_semaphore at `lock`.
 * @throws AddressError when it is not in the dump
 */
export function decodeRwsem(kernel: Kernel, lock: VirtualAddress): LockWord {
  const s = kernel.structures;
  if (s.has(TYPE, "rwbase.readers") || s.has(TYPE, "readers")) return rtRwsem(kernel, lock);
  const size = kernel.types.sizeOf(TYPE) ?? 32;
  const bytes = hexBytes(kernel.memory.read(lock, Math.min(size, 64)));
  const typeAt = s.find("struct rwsem_waiter", "type")?.offset ?? s.find("struct rwsem_waiter", "flags")?.offset ?? 24;
  // enum rwsem_waiter_type: RWSEM_WAITING_FOR_WRITE 0, _READ 1; before 3.10 flags: READ 1, WRITE 2.
  const told = toldBy(kernel, TYPE);
  const listAt = told ? 0 : provedListAt(kernel, TYPE, lock);
  const list = readWaiters(kernel, lock, TYPE, "struct rwsem_waiter", listAt, (waiter) =>
    kernel.memory.u32(addressAdd(waiter, typeAt)) === 1 ? "reader" : "writer",
  );
  const problems = list.problem === undefined ? [] : [list.problem];
  const count = kernel.memory.u64(addressAdd(lock, s.find(TYPE, "count")?.offset ?? 0));
  const owner = s.find(TYPE, "owner");
  const modern = told ? owner !== undefined && /atomic/.test(owner.typeName) : provedModernRwsem(kernel, lock, listAt);
  const ownerAt = owner?.offset ?? (modern ? OWNER_AT : undefined);
  const word = ownerAt === undefined ? undefined : kernel.memory.u64(addressAdd(lock, ownerAt));
  return modern && word !== undefined
    ? modernRwsem(kernel, bytes, count, word, list.waiters, problems)
    : biasedRwsem(kernel, bytes, BigInt.asIntN(64, count), word, list.waiters, problems);
}

function modernRwsem(
  kernel: Kernel,
  bytes: string,
  count: bigint,
  word: bigint,
  waiters: readonly WaiterFact[],
  problems: string[],
): LockWord {
  const writer = (count & 1n) !== 0n;
  const readers = Number((count >> READER_SHIFT) & ((1n << 55n) - 1n));
  // RWSEM_READER_OWNED 1 and RWSEM_NONSPINNABLE (2; 5.3 to 5.10 have 2 and 4)
  const fact = (word & ~7n) === 0n ? undefined : taskFact(kernel, word & ~7n);
  const readerOwned = (word & 1n) !== 0n;
  if (writer && readers > 0 && waiters.length === 0 && (count & 2n) === 0n) {
    problems.push(`a writer has it and ${readers} readers are counted`);
  }
  if (readers > 1 << 22) problems.push(`${readers} readers, more than there can be tasks`);
  const waits = waiters.length > 0 || (count & 2n) !== 0n;
  const held = writer || readers > 0;
  const impossible = readers > 1 << 22 || (writer && fact?.pid === -1 && !readerOwned);
  if (writer && fact?.pid === -1) problems.push(`its owner word leads to ${fact.address}, where no task is`);
  const state: LockState = impossible ? "impossible" : waits ? "contended" : held ? "held" : "free";
  const by = fact === undefined || fact.pid < 0 ? "" : ` by ${nameTask(fact)}`;
  const has = writer
    ? `held for writing${by}`
    : readers > 0
      ? `held for reading by ${readers} task${readers === 1 ? "" : "s"}${fact && fact.pid >= 0 && readerOwned ? `, the last to come was ${nameTask(fact)}` : ""}`
      : "free";
  return {
    type: "rw_semaphore",
    state,
    bytes,
    fields: {
      count: `0x${count.toString(16)}`,
      flags: flagNames(Number(count & 7n), FLAGS),
      readers,
      waiters: waiters.length,
    },
    meaning: impossible ? problems.join("; ") : `${has}${waits ? ", tasks wait" : ""}`,
    // The reader's note of itself is a hint that outlives its unlock: only a writer's is an owner.
    owner: writer && fact !== undefined && fact.pid >= 0 ? fact : undefined,
    waiters,
    problems,
  };
}

/** Up to 5.2: active count in the low half; negative when writers hold or tasks wait. */
function biasedRwsem(
  kernel: Kernel,
  bytes: string,
  count: bigint,
  word: bigint | undefined,
  waiters: readonly WaiterFact[],
  problems: string[],
): LockWord {
  const active = Number(count & ACTIVE_MASK);
  const writer = count < 0n && active === 1 && (waiters.length === 0 || count < -ACTIVE_MASK - 1n);
  const pointer = word === undefined ? 0n : word & ~3n;
  const fact: TaskFact | undefined = pointer === 0n ? undefined : taskFact(kernel, pointer);
  const owner = fact !== undefined && fact.pid >= 0 && (word ?? 0n) % 4n === 0n ? fact : undefined;
  const waits = waiters.length > 0;
  const impossible = active > 1 << 22;
  if (impossible) problems.push(`${active} active holders, more than there can be tasks`);
  const state: LockState = impossible ? "impossible" : waits ? "contended" : active > 0 ? "held" : "free";
  const has =
    active === 0
      ? "free"
      : writer || owner !== undefined
        ? `held for writing${owner === undefined ? "" : ` by ${nameTask(owner)}`}`
        : `held by ${active}${waits ? " or fewer" : ""} reader${active === 1 ? "" : "s"}`;
  return {
    type: "rw_semaphore",
    state,
    bytes,
    fields: { count: `0x${BigInt.asUintN(64, count).toString(16)}`, active, waiters: waiters.length },
    meaning: impossible ? problems.join("; ") : `${has}${waits ? ", tasks wait" : ""}`,
    owner,
    waiters,
    problems,
  };
}

/** PREEMPT_RT: readers counted from READER_BIAS, a writer takes the inner rt_mutex. */
function rtRwsem(kernel: Kernel, lock: VirtualAddress): LockWord {
  const s = kernel.structures;
  const prefix = s.has(TYPE, "rwbase.readers") ? "rwbase." : "";
  const readersWord = s.number(lock, TYPE, `${prefix}readers`);
  const mutex = decodeRtMutex(kernel, addressAdd(lock, s.offset(TYPE, `${prefix}rtmutex`)));
  const size = kernel.types.sizeOf(TYPE) ?? 40;
  const readers = (readersWord & RT_READER_BIAS) !== 0 ? readersWord & 0x3fffffff : readersWord;
  const writer = readersWord === RT_WRITER_BIAS;
  const held = writer
    ? `held for writing${mutex.owner === undefined ? "" : ` by ${nameTask(mutex.owner)}`}`
    : readers > 0
      ? `held for reading by ${readers}`
      : "free";
  // A writer takes the rt_mutex and the readers' bias, then waits for the readers to leave.
  const coming = !writer && (readersWord & RT_READER_BIAS) === 0 ? mutex.owner : undefined;
  const waiters: readonly WaiterFact[] = [
    ...(coming === undefined ? [] : [{ address: coming.address, task: coming, kind: "writer" as const }]),
    ...(mutex.waiters ?? []),
  ];
  const waits = waiters.length > 0 || mutex.state === "contended" || (!writer && (readersWord & RT_READER_BIAS) === 0);
  const state: LockState =
    mutex.state === "impossible" ? "impossible" : waits ? "contended" : writer || readers > 0 ? "held" : "free";
  return {
    type: "rw_semaphore (rt)",
    state,
    bytes: hexBytes(kernel.memory.read(lock, Math.min(size, 64))),
    fields: { readers: `0x${readersWord.toString(16)}`, waiters: waiters.length },
    meaning: mutex.state === "impossible" ? mutex.meaning : `${held}${state === "contended" ? ", tasks wait" : ""}`,
    owner: writer ? mutex.owner : undefined,
    waiters,
    problems: mutex.problems,
  };
}
