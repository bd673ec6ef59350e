// Whether one of the kernel's own locks was held at the moment of the dump: what a half-done change of text is judged
// by. A struct mutex is read by its members, of which three kinds exist.
import { addressAdd, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";

/** Low bits of mutex.owner: WAITERS, HANDOFF, PICKUP (kernel/locking/mutex.h, since 4.10); rt_mutex: HAS_WAITERS. */
const OWNER_FLAGS = 7n;

/**
 * The holder of a `struct mutex` that is a core symbol: its task_struct, 0 when it is free, undefined when it cannot be
 * read. Before 4.10 only the counter tells for sure: a held mutex without a recorded owner gives all ones.
 */
export function mutexHolder(kernel: Kernel, symbol: string): VirtualAddress | undefined {
  const at = kernel.find(symbol);
  if (at === undefined) return undefined;
  const { structures: s, memory } = kernel;
  const MUTEX = "struct mutex";
  try {
    // PREEMPT_RT: struct mutex {struct rt_mutex_base rtmutex} since 5.15.
    for (const path of ["rtmutex.owner", "lock.owner"]) {
      const member = s.find(MUTEX, path);
      if (member !== undefined) return virtualAddress(memory.u64(addressAdd(at, member.offset)) & ~OWNER_FLAGS);
    }
    const count = s.find(MUTEX, "count");
    const owner = s.find(MUTEX, "owner");
    if (count !== undefined) {
      if (memory.i32(addressAdd(at, count.offset)) === 1) return virtualAddress(0n);
      const task = owner === undefined ? 0n : memory.u64(addressAdd(at, owner.offset));
      return virtualAddress(task === 0n ? -1n : task);
    }
    if (owner === undefined) return undefined;
    return virtualAddress(memory.u64(addressAdd(at, owner.offset)) & ~OWNER_FLAGS);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

/** True when the mutex is known to be held. */
export function isMutexHeld(kernel: Kernel, symbol: string): boolean {
  const holder = mutexHolder(kernel, symbol);
  return holder !== undefined && holder !== 0n;
}
