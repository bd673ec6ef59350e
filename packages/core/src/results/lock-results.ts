// The result of `locks`: lock words, who holds them, who waits for them, and what the sites that take and release them run.
import type { LockSlotFact } from "./paravirt-results.ts";
import type { DumpFacts, KernelFacts } from "./results.ts";
import type { Finding } from "./types.ts";

export interface TaskLockFact {
  /** "0x…" of the struct task_struct */
  readonly address: string;
  /** -1 and "" when the address leads to no task */
  readonly pid: number;
  readonly comm: string;
}

/** A CPU or a task that waits, in the order in which they will get the lock. */
export interface WaitingFact {
  /** a CPU that spins, or sleeps in the hypervisor; not there for tasks that sleep */
  readonly cpu?: number;
  readonly task?: TaskLockFact;
  /** "reader", "writer" where the lock tells */
  readonly kind?: string;
  /** true when that it waits for this lock is a guess: a register or a word of its stack holds the address */
  readonly guess?: boolean;
  /** the ticket it waits with */
  readonly ticket?: number;
  /** which of the CPU's four MCS nodes is in the queue */
  readonly node?: number;
  /** where it stands: "native_queued_spin_lock_slowpath+0x69" */
  readonly at?: string;
  /** who called, innermost first */
  readonly callers?: readonly string[];
  readonly interruptsOff?: boolean;
  /** true for a CPU that sleeps in the hypervisor until it is kicked */
  readonly asleep?: boolean;
}

/** What the bytes of a lock say when they are read as one type. */
export interface LockReading {
  /** "ticket spinlock", "queued spinlock", "mutex" … */
  readonly type: string;
  /** "unknown" when nothing proves the type, or this kernel has no such lock */
  readonly state: "free" | "held" | "contended" | "impossible" | "unknown";
  readonly fields: Readonly<Record<string, string | number>>;
  /** one sentence */
  readonly meaning: string;
}

/** One lock. Its `type` is "unknown" when nothing proves it. */
export interface LockFact extends LockReading {
  /** "0x…" */
  readonly address: string;
  /** "floppy_lock [floppy]", "runqueues.__lock of CPU 2", or "" when no symbol is there */
  readonly symbol: string;
  /** the lock's bytes in memory order */
  readonly bytes: string;
  /** where the word, or a kernel with lock debugging, names one */
  readonly owner?: TaskLockFact;
  readonly waiters: readonly WaitingFact[];
  /** what tells the type, and that it is a lock at all */
  readonly evidence: string;
  /** what does not fit or could not be read, in plain words */
  readonly problems: readonly string[];
  /** Types that the bytes fit, when the type is not known: none is proved by that. */
  readonly fits?: readonly (LockReading & { readonly option: string })[];
}

/** What the sites of one role run. */
export interface ImplementationFact {
  /** "lock", "trylock", "unlock", "wait", "kick" */
  readonly role: string;
  /** "ticket", "Xen byte lock", "native queued", "paravirt queued", "nothing" (NOPs), "unknown" */
  readonly implementation: string;
  /** "__ticket_spin_lock", "inlined native queued code" */
  readonly function: string;
  /** object → sites; empty for an out-of-line function of a kernel without paravirt lock slots */
  readonly byObject: Readonly<Record<string, number>>;
}

/** Result of `locks`. */
export interface LocksResult {
  readonly schema: "palimpsest/locks/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  /** The lock that was asked for; null when all were looked at. */
  readonly asked: string | null;
  /** What each kind of lock site runs; empty when the sites were not looked at. */
  readonly implementations: readonly ImplementationFact[];
  readonly slots: readonly LockSlotFact[];
  /** In a state worth telling (held, contended, impossible), or the one that was asked for. */
  readonly locks: readonly LockFact[];
  /** locks whose words were looked at */
  readonly looked: number;
  /** CPUs that wait for a lock of which nothing proves which one it is, or which cannot be read */
  readonly untold: number;
  /** online CPUs whose registers the dump does not have; null when it has none at all, or nobody knows who is online */
  readonly withoutRegisters: number | null;
  readonly findings: readonly Finding[];
  readonly notChecked: readonly { readonly object: string; readonly reason: string }[];
  readonly notes: readonly string[];
}
