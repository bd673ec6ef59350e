// What a lock word's bytes say. The decoders are pure where the bytes alone tell; those that follow owners and lists get
// the kernel.

/** "impossible": no history of correct operations leaves these bytes. */
export type LockState = "free" | "held" | "contended" | "impossible";

export interface LockWord {
  /** "ticket spinlock", "queued spinlock", "mutex" … */
  readonly type: string;
  readonly state: LockState;
  /** The lock's own bytes in memory order, "00 04 00 00". */
  readonly bytes: string;
  /** Parts of the word by name. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** One sentence, without the lock's name. */
  readonly meaning: string;
  /** Task that has it, where the word names one. */
  readonly owner?: TaskFact;
  readonly waiters?: readonly WaiterFact[];
  /** What could not be read or does not fit, in plain words. */
  readonly problems: readonly string[];
}

export interface TaskFact {
  /** "0x…" of the struct task_struct */
  readonly address: string;
  /** -1 and "" when the address leads to no task */
  readonly pid: number;
  readonly comm: string;
}

export interface WaiterFact {
  /** "0x…" of the waiter on its list */
  readonly address: string;
  readonly task: TaskFact;
  /** "reader", "writer" where the lock tells */
  readonly kind?: "reader" | "writer";
}

/** Each CPU can have one spinlock operation under way as a task, in a softirq, in an interrupt and in an NMI. */
export const CONTEXTS = 4;
