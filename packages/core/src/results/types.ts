// Everything Palimpsest can find, one type with stable ids. Plain data: the same object is rendered as text and
// printed as JSON. Addresses are hex strings here ("0x" and 16 digits).

export type Severity = "error" | "warning" | "note";

export interface FindingBase {
  readonly severity: Severity;
  /** "0x…" */
  readonly address: string;
  /** bytes covered */
  readonly length: number;
  /** "vmlinux", the module's name, or the owner of generated code */
  readonly object: string;
  /** "name+0x10" */
  readonly symbol: string;
  /** one line that says what is wrong */
  readonly title: string;
  /** what it means and what to look at, one sentence each */
  readonly notes: readonly string[];
}

/** The three layers of a place as hex text ("e8 74 c3 5d e1"). */
export interface Layers {
  readonly built: string;
  readonly intended: string;
  readonly found: string;
}

export interface SlotFact {
  readonly name: string;
  readonly value: string;
  /** "0x…" when the slot is a place in memory */
  readonly address?: string;
}

/** Bytes that nothing explains. `address` and `length` are exactly the differing bytes. */
export interface TextForeign extends FindingBase {
  readonly id: "text.foreign";
  readonly layers: Layers;
  /** The mechanism whose site the place belongs to, when it does. */
  readonly mechanism?: string;
  /** The site around it. */
  readonly site?: { readonly address: string; readonly length: number; readonly layers: Layers };
  readonly slot?: SlotFact;
}

/** A site that holds a legal form of its mechanism, but not the one that its slot calls for now. */
export interface SiteStale extends FindingBase {
  readonly id: "site.stale";
  readonly mechanism: string;
  readonly layers: Layers;
  /** The form that it holds: "NOP (jump label flipped)", "call to native_write_cr4". */
  readonly form: string;
  /** Why the intended bytes are what they are. */
  readonly reason: string;
  readonly slot?: SlotFact;
  /** The bytes that differ. */
  readonly differs: readonly { readonly address: string; readonly length: number }[];
}

/** Something that this kernel has and Palimpsest does not know; what it covers is left out of the account. */
export interface Unknown extends FindingBase {
  readonly id: "unknown.table" | "unknown.mechanism" | "unknown.state" | "unknown.rule" | "unknown.smear";
  readonly mechanism: string;
}

/** Sites of one role that run one function. */
export interface LockSide {
  /** "ticket", "Xen byte lock", "native queued", "paravirt queued" */
  readonly implementation: string;
  /** "ticket", "byte", "queued", "pv-queued" */
  readonly family: string;
  readonly function: string;
  readonly sites: number;
  /** object → sites */
  readonly byObject: Readonly<Record<string, number>>;
  /** the first few */
  readonly places: readonly { readonly address: string; readonly symbol: string }[];
}

/** A lock object that is taken one way and released another. */
export interface AffectedLock {
  /** "floppy_lock [floppy]" */
  readonly name: string;
  readonly address: string;
  /** the word in memory order, "00 04 00 00" */
  readonly bytes: string;
  /** the function that takes it, "__ticket_spin_lock" */
  readonly takenBy: string;
  /** the function that releases it and does not belong to that, "xen_spin_unlock" */
  readonly releasedBy: string;
  /** the word decoded as that family */
  readonly meaning: string;
  readonly fields: Readonly<Record<string, string | number>>;
  /** True when no release of the kind that reaches it can ever grant it again. */
  readonly stuck: boolean;
  /** Why it is stuck, or why its waiter does not get it now: it missed its wake-up. */
  readonly why?: string;
  /** CPUs that wait for it. */
  readonly waiting: readonly {
    readonly cpu: number;
    /** "kworker/1:1 (PID 23)" or "" */
    readonly task: string;
    /** where it stands, "__ticket_spin_lock+0x10" */
    readonly function: string;
    readonly ticket?: number;
  }[];
  readonly takenAt: readonly string[];
  readonly releasedAt: readonly string[];
}

/** One lock type is taken by one implementation and released by another. */
export interface LockMixed extends FindingBase {
  readonly id: "lock.mixed";
  readonly takers: readonly LockSide[];
  readonly releasers: readonly LockSide[];
  /** Locks that the odd releases work on, where the code tells which. */
  readonly locks: readonly AffectedLock[];
  readonly slots: readonly SlotFact[];
  /** Modules loaded after the slots were changed. */
  readonly modulesAfter: readonly string[];
}

/** A slot whose present value differs from what the sites patched from it hold. */
export interface SlotLateWrite extends FindingBase {
  readonly id: "slot.late-write";
  readonly slot: SlotFact;
  /** function → sites that hold it */
  readonly patchedTo: Readonly<Record<string, number>>;
  /** object → sites, patched before and after the change */
  readonly sites: {
    readonly before: Readonly<Record<string, number>>;
    readonly after: Readonly<Record<string, number>>;
  };
  /** modules whose sites hold the present value */
  readonly modulesAfter: readonly string[];
  readonly places: readonly { readonly address: string; readonly symbol: string }[];
}

/** A lock and an unlock that the dump's sites pair up were run in every order, and it goes wrong. */
export interface HangLockPair extends FindingBase {
  readonly id: "hang.lock-pair";
  readonly verdict: "hang" | "two-holders" | "bad-end" | "trap";
  readonly lock: string;
  readonly unlock: string;
  readonly cpus: number;
  readonly rounds: number;
  readonly states: number;
  /** the steps of the witness that matter, "model CPU 0  __ticket_spin_lock+0xe  pause", and what was folded: "… 12 steps" */
  readonly witness: readonly string[];
}

/** Locks of one type whose words no history of its operations leaves. `address` is that of the first. */
export interface LockImpossible extends FindingBase {
  readonly id: "lock.impossible";
  /** "ticket spinlock" */
  readonly type: string;
  /** Those that somebody waits for first. */
  readonly locks: readonly {
    /** "irq_desc+0x7c", or its address */
    readonly name: string;
    /** "0x…" */
    readonly address: string;
    /** the lock in memory order */
    readonly bytes: string;
    readonly meaning: string;
    /** what it would be as the other kind of lock that this kernel has: "ticket spinlock: free: head and tail are both 4" */
    readonly otherwise?: string;
  }[];
}

/** One step of a deadlock: the task sleeps for `waitsFor`, which the next step's task has. */
export interface DeadlockStep {
  /** "insmod (PID 12)" */
  readonly task: string;
  /** "0x…" of the struct task_struct */
  readonly address: string;
  /** "dl_first [dl]" */
  readonly waitsFor: string;
  /** "0x…" */
  readonly lock: string;
  /** "mutex" */
  readonly type: string;
  /** where it sleeps, innermost first */
  readonly at: readonly string[];
}

/** Tasks of which each waits for a lock that the next one has, in a circle: proved by owner words and waiter lists. */
export interface HangDeadlock extends FindingBase {
  readonly id: "hang.deadlock";
  readonly cycle: readonly DeadlockStep[];
}

/** Somebody who waits, runs or has something, as far as a hang goes. */
export interface HangStep {
  /** "insmod (PID 12)", "CPU 3 [insmod (PID 12)]" */
  readonly who: string;
  readonly pid: number;
  /** the CPU that it is on; null for a task that is on none */
  readonly cpu: number | null;
  /** "waits for the spinlock floppy_lock [floppy]", "loops with interrupts off" */
  readonly what: string;
  /** "0x…" of the lock or object that it waits for; null without one */
  readonly lock: string | null;
  /** where it stands, innermost first */
  readonly at: readonly string[];
}

/** Why something stands still, or what the kernel died of. `chain` leads from who is stuck to the cause. */
export interface HangCause extends FindingBase {
  readonly id:
    | "hang.self-deadlock"
    | "hang.lost-unlock"
    | "hang.lost-wakeup"
    | "hang.dead-owner"
    | "hang.waiting-for-ipi"
    | "hang.work-flush"
    | "hang.rcu-stall"
    | "hang.soft-lockup"
    | "hang.hard-lockup"
    | "hang.hung-task"
    | "crash.panic"
    | "crash.oops";
  readonly chain: readonly HangStep[];
  /** tasks and CPUs that are blocked behind it, beyond the chain */
  readonly behind: number;
  /** what tells it: the state of the dump, or only the kernel's log */
  readonly source: "dump" | "log";
}

export type Finding =
  | TextForeign
  | SiteStale
  | Unknown
  | LockMixed
  | SlotLateWrite
  | HangLockPair
  | LockImpossible
  | HangDeadlock
  | HangCause;
export type FindingId = Finding["id"];
