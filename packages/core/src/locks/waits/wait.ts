// Who waits for which lock, and how that is known: the values that `cpus`, `locks`, deadlocks and every graph of waits share.
// Words are made of them last (evidence-text.ts).
import type { VirtualAddress } from "../../bytes/brand.ts";
import type { Place } from "../../symbols/place.ts";
import type { Frame } from "../../tasks/backtrace.ts";
import type { Task } from "../../tasks/tasks.ts";
import type { LockKind } from "../code/lock-kinds.ts";
import type { LockFamily } from "../types.ts";

/**
 * What told the lock. All but "guess" and "nothing" are proofs: the register that holds the argument of the function in which
 * the CPU stands; the constant that the caller handed over; the queue or the list that the lock's own word leads to; the
 * task's own pointer to what blocks it.
 */
export type WaitEvidence =
  | { readonly by: "register"; readonly register: string }
  | { readonly by: "frame"; readonly caller: Place }
  /** @param from where its address was found: "rbx", "its stack" */
  | {
      readonly by: "queue";
      readonly from: string;
      readonly node: { readonly cpu: number; readonly index: number; readonly address: VirtualAddress };
    }
  | { readonly by: "list"; readonly waiterType: string; readonly waiter: VirtualAddress }
  | { readonly by: "blocker"; readonly member: string }
  /** a register or a word of the stack that may have held another pointer by then */
  | { readonly by: "guess"; readonly from: string; readonly fits: "ticket" | "pending" }
  | { readonly by: "nothing" };

/** Whether the evidence proves which lock it is. A guess is shown as one and makes no error. */
export const isProved = ({ by }: WaitEvidence): boolean => by !== "guess" && by !== "nothing";

interface WaitBase {
  /** undefined when nothing tells which lock it is */
  readonly lock: VirtualAddress | undefined;
  readonly kind: LockKind;
  readonly mode: "reader" | "writer" | undefined;
  readonly evidence: WaitEvidence;
  /** innermost first: from the lock's own function outwards */
  readonly frames: readonly Frame[];
  /** ns of the scheduler's clock at which the wait began; undefined when nothing tells */
  readonly since?: bigint;
}

/** A CPU in a function that takes a spinlock or rwlock. */
export interface CpuWait extends WaitBase {
  readonly who: "cpu";
  readonly cpu: number;
  /** 0: what the CPU executes; more: what an interrupt interrupted */
  readonly level: number;
  readonly task: Task | undefined;
  readonly kind: "raw-spinlock" | "rwlock";
  /** How the function takes it: a CPU of a mixed kernel may wait in the function of another implementation. */
  readonly family: LockFamily;
  /** The ticket that it waits with. */
  readonly ticket: number | undefined;
  readonly interruptsOff: boolean;
  /** Sleeps until a kick instead of spinning. */
  readonly asleep: boolean;
}

/** A task that sleeps for a mutex, rw_semaphore, semaphore or rt_mutex. */
export interface TaskWait extends WaitBase {
  readonly who: "task";
  readonly task: Task;
  readonly lock: VirtualAddress;
  /** its waiter on the lock's list */
  readonly waiter: VirtualAddress;
}

export type Wait = CpuWait | TaskWait;
