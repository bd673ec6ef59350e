// Who waits on a sleeping lock: its list of waiters, which lie on their own stacks. Lists that loop or dangle are cut, and
// that is told.
import { addressAdd, formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { tryTask } from "../../tasks/tasks.ts";
import type { TaskFact, WaiterFact } from "./types.ts";

/** More waiters than a lock is expected to have. */
const MAX_WAITERS = 4096;

/** {struct list_head list; struct task_struct *task; …}: mutex_waiter, rwsem_waiter and semaphore_waiter since 2.6.16. */
const DEFAULT_LIST = 0;
const DEFAULT_TASK = 16;

export interface WaiterList {
  readonly waiters: readonly WaiterFact[];
  readonly problem?: string;
}

/** The task at an address as a fact; pid -1 when it leads to no task. */
export function taskFact(kernel: Kernel, address: bigint): TaskFact {
  const task = tryTask(kernel, address);
  return { address: formatAddress(address), pid: task?.pid ?? -1, comm: task?.comm ?? "" };
}

/**
 * The waiters of the lock at `lock`.
 * @param type of the lock, "struct mutex"
 * @param waiterType "struct mutex_waiter"
 * @param listAt offset of wait_list where no layout tells it
 */
export function readWaiters(
  kernel: Kernel,
  lock: VirtualAddress,
  type: string,
  waiterType: string,
  listAt: number,
  kindOf?: (waiter: VirtualAddress) => WaiterFact["kind"],
): WaiterList {
  const s = kernel.structures;
  const list = s.find(waiterType, "list")?.offset ?? DEFAULT_LIST;
  const task = s.find(waiterType, "task")?.offset ?? DEFAULT_TASK;
  const waiters: WaiterFact[] = [];
  const seen = new Set<bigint>();
  const { memory } = kernel;
  try {
    // 7.x: a pointer to the first waiter, whose list is a ring of waiters only; before, a list head in the lock.
    const first = s.find(type, "first_waiter");
    const head = addressAdd(lock, s.find(type, "wait_list")?.offset ?? listAt);
    let at: VirtualAddress;
    if (first !== undefined) {
      const pointer = memory.pointer(addressAdd(lock, first.offset));
      if (pointer === 0n) return { waiters };
      at = addressAdd(pointer, list);
    } else at = memory.pointer(head);
    while (first !== undefined ? !seen.has(at) : at !== head) {
      if (at === 0n) return { waiters, problem: `its list of waiters has a NULL pointer after ${waiters.length}` };
      if (seen.has(at)) return { waiters, problem: `its list of waiters loops after ${waiters.length}` };
      if (waiters.length >= MAX_WAITERS) return { waiters, problem: `its list has more than ${MAX_WAITERS} waiters` };
      seen.add(at);
      const waiter = addressAdd(at, -list);
      const next = memory.pointer(at);
      const fact = taskFact(kernel, memory.u64(addressAdd(waiter, task)));
      waiters.push({ address: formatAddress(waiter), task: fact, kind: kindOf?.(waiter) });
      at = next;
    }
    return { waiters };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { waiters, problem: `its list of waiters: ${error.message} after ${waiters.length}` };
  }
}

/** "insmod (PID 12)", or the address of what is no task. */
export function nameTask(task: TaskFact): string {
  return task.pid < 0 ? `the task at ${task.address} (no task there)` : `${task.comm} (PID ${task.pid})`;
}
