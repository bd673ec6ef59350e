// Where a sleeping lock keeps its list of waiters on a kernel that tells no layouts. Spinlocks take no room without CONFIG_SMP
// and much with CONFIG_DEBUG_SPINLOCK and lockdep, so that no release's layout is taken for granted: a list head points to
// itself, or into a ring that comes back to it, and that is looked for in the dump.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU32, getU64 } from "../../kernel/layouts/little-endian.ts";

export type ListedLock = "struct mutex" | "struct semaphore" | "struct rw_semaphore";

/** Variables of that type in most kernels, by which the layout is told where the lock itself leaves it open. */
const SAMPLES: Readonly<Record<ListedLock, readonly string[]>> = {
  "struct mutex": [
    ...[
      "module_mutex",
      "text_mutex",
      "cgroup_mutex",
      "rtnl_mutex",
      "tty_mutex",
      "slab_mutex",
      "system_transition_mutex",
    ],
    ...["pcpu_alloc_mutex", "jump_label_mutex", "clocksource_mutex", "event_mutex", "kprobe_mutex"],
  ],
  "struct semaphore": ["console_sem", "efi_runtime_lock"],
  "struct rw_semaphore": [
    ...["uts_sem", "namespace_sem", "crypto_alg_sem", "pernet_ops_rwsem", "net_rwsem", "leds_list_lock"],
    ...["umhelper_sem", "kernfs_rwsem", "shrinker_rwsem", "bus_type_sem"],
  ],
};
/** Longest lock that is looked through: lockdep's map of 64 bytes in it. */
const MAX_LOCK = 160;
/** SPINLOCK_MAGIC of CONFIG_DEBUG_SPINLOCK (include/linux/spinlock_types.h): the second word of a raw_spinlock_t */
const SPINLOCK_MAGIC = 0xdead4ead;

/** Whether any type tells where the lock's waiters are: then nothing has to be proved. */
export const toldBy = (kernel: Kernel, type: ListedLock): boolean =>
  kernel.structures.has(type, "wait_list") || kernel.structures.has(type, "first_waiter");

/**
 * Offset of the list head in the lock at `lock`.
 * @throws MissingError when neither the lock nor any other of its type proves one
 */
export function provedListAt(kernel: Kernel, type: ListedLock, lock: VirtualAddress): number {
  const own = listIn(kernel, lock);
  if (own !== undefined) return own;
  const votes = new Map<number, number>();
  for (const sample of samplesOf(kernel, type)) {
    const at = listIn(kernel, sample);
    if (at !== undefined) votes.set(at, (votes.get(at) ?? 0) + 1);
  }
  const [best] = [...votes].sort(([, a], [, b]) => b - a);
  if (best === undefined) throw new MissingError(`the layout of ${type}: no list of waiters proves one`);
  return best[0];
}

const samplesOf = (kernel: Kernel, type: ListedLock): VirtualAddress[] =>
  SAMPLES[type].flatMap((name) => kernel.find(name) ?? []);

/** The first list head in the bytes at `lock`; undefined when none is there. */
function listIn(kernel: Kernel, lock: VirtualAddress): number | undefined {
  for (let at = 8; at + 16 <= MAX_LOCK; at += 8) {
    const bytes = kernel.memory.tryRead(addressAdd(lock, at), 16);
    if (bytes === undefined) return undefined;
    if (isRing(kernel, addressAdd(lock, at), getU64(bytes, 0), getU64(bytes, 8))) return at;
  }
  return undefined;
}

function isRing(kernel: Kernel, head: VirtualAddress, next: bigint, prev: bigint): boolean {
  if (next === head && prev === head) return true;
  const isNode = (value: bigint): boolean => value >= 0xff00000000000000n && (value & 7n) === 0n && value !== head;
  if (!isNode(next) || !isNode(prev)) return false;
  const back = kernel.memory.tryRead(addressAdd(next as VirtualAddress, 8), 8);
  const forth = kernel.memory.tryRead(prev as VirtualAddress, 8);
  return back !== undefined && forth !== undefined && getU64(back, 0) === head && getU64(forth, 0) === head;
}

/** Without it there are no per-CPU offsets, and a spinlock takes no room. */
const isSmp = (kernel: Kernel): boolean => kernel.find("__per_cpu_offset") !== undefined;

/** Where the spinlock inside of the lock begins, by the magic number of CONFIG_DEBUG_SPINLOCK. */
function debugSpinlockAt(kernel: Kernel, lock: VirtualAddress, list: number): number | undefined {
  for (let at = 4; at < list; at += 4) {
    const bytes = kernel.memory.tryRead(addressAdd(lock, at), 4);
    if (bytes !== undefined && getU32(bytes, 0) === SPINLOCK_MAGIC) return at - 4;
  }
  return undefined;
}

/** Offset of `unsigned int count` in {raw_spinlock_t lock; unsigned int count; struct list_head wait_list}. */
export function provedCountAt(kernel: Kernel, list: number): number {
  // A spinlock of 4 bytes (or 2 and a gap) leaves the count just in front of the list; of none, or with debug fields, a gap.
  return list === 8 && isSmp(kernel) ? 4 : list - 8;
}

/**
 * Whether a struct mutex begins with a counter (up to 4.9: 1 is free) or with its owner (0 is free).
 * @throws MissingError when this lock's word leaves it open and no other mutex tells
 */
export function provedCounted(kernel: Kernel, lock: VirtualAddress): boolean {
  const own = countedBy(kernel, lock);
  if (own !== undefined) return own;
  let counted = 0;
  let owned = 0;
  for (const sample of samplesOf(kernel, "struct mutex")) {
    const bytes = kernel.memory.tryRead(sample, 8);
    if (bytes === undefined || listIn(kernel, sample) === undefined) continue;
    if (countedBy(kernel, sample) === true) counted++;
    else owned++;
  }
  if (counted + owned === 0) throw new MissingError("the layout of struct mutex: no mutex tells whether it is counted");
  return counted > owned;
}

/** Told by the first word alone: 1 or a small negative number is a count, the address of a task an owner. */
function countedBy(kernel: Kernel, lock: VirtualAddress): boolean | undefined {
  const bytes = kernel.memory.tryRead(lock, 8);
  if (bytes === undefined) return undefined;
  const count = getU32(bytes, 0) | 0;
  if (getU64(bytes, 0) >= 0xff00000000000000n) return false;
  return count === 1 || (count < 0 && count > -65_536) ? true : undefined;
}

/** Whether a struct rw_semaphore is of 5.3 and newer, {count; owner; osq; wait_lock; wait_list}, by what lies before its list. */
export function provedModernRwsem(kernel: Kernel, lock: VirtualAddress, list: number): boolean {
  const debug = debugSpinlockAt(kernel, lock, list);
  if (debug !== undefined) return debug >= 16;
  return list === 24 || (list === 16 && !isSmp(kernel));
}
