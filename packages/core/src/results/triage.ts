// The machine when the dump was taken, on one screen: what `sys` tells and `diagnose` begins with.

/** Lines of the log that say something about the kernel's health, of one kind. */
export interface TriageEvents {
  /** "panic", "oops", "bug", "warning", "soft-lockup", "hung-task", "rcu-stall", "lockdep" … */
  readonly kind: string;
  readonly count: number;
  /** the first of them */
  readonly text: string;
  /** seconds since boot, "12.345"; null without time stamps */
  readonly time: string | null;
  readonly cpu: number | null;
  readonly task: { readonly pid: number; readonly comm: string } | null;
}

/** A CPU that waits for a spinlock or rwlock. */
export interface TriageSpinner {
  readonly cpu: number;
  readonly task: { readonly pid: number; readonly comm: string } | null;
  /** "spinlock", "rwlock (read)", "rwlock (write)" */
  readonly kind: string;
  /** "floppy_lock [floppy]"; null when nothing proves which lock it is */
  readonly lock: { readonly address: string; readonly symbol: string } | null;
  /** who has it, "CPU 2 [hg_ba (PID 170)]"; null when that is not known or nobody has it */
  readonly holder: string | null;
  /** why it is not known who has it; null with a holder, without a lock, and when nobody has it */
  readonly holderUnknown: string | null;
}

/** A task that sleeps uninterruptibly. */
export interface TriageSleeper {
  readonly pid: number;
  readonly comm: string;
  /** seconds since it last came onto a CPU, "12.345"; null when the kernel does not count */
  readonly since: string | null;
  readonly sleepsIn: string | null;
}

export interface Triage {
  /** init_uts_ns.name.nodename; null when it cannot be read, as with all that follows */
  readonly node: string | null;
  /** what the firmware calls the machine: dmi_ids_string */
  readonly hardware: string | null;
  /** "2026-11-28T17:02:39Z": the kernel's clock when the dump was taken */
  readonly date: string | null;
  /** seconds since boot */
  readonly uptime: string | null;
  /** runnable and uninterruptible tasks, averaged over 1, 5 and 15 minutes: "0.52" */
  readonly load: readonly string[] | null;
  readonly cpus: { readonly online: readonly number[]; readonly possible: number | null };
  /** bytes of memory that the kernel manages (totalram_pages) */
  readonly memory: number | null;
  /** letters as in "Tainted: G", with what each says; none: not tainted */
  readonly taint: readonly { readonly letter: string; readonly meaning: string }[] | null;
  readonly tasks: {
    readonly count: number;
    /** letter as `ps` has it → tasks */
    readonly states: Readonly<Record<string, number>>;
  };
  readonly events: readonly TriageEvents[];
  readonly spinning: readonly TriageSpinner[];
  /** those that wait longest first, the first few */
  readonly uninterruptible: readonly TriageSleeper[];
  readonly uninterruptibleLeftOut: number;
}
