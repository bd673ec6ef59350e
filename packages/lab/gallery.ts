// The gallery: states in which a guest hangs or dies in one known way (modules/hang_gallery.c). What the module logged about
// its locks, tasks and CPUs stands on the serial console as "@lab:fact WORDS", so that a diagnosis can be checked against it.
import type { GuestState } from "./state-types.ts";

/** Loads the module with the shell on CPU 0; it hangs other CPUs or tasks and says when all stand where they must. */
const load = (kind: string): string => `
taskset -p 1 $$ >/dev/null; for f in /proc/irq/*/smp_affinity; do echo 1 > $f; done 2>/dev/null
insmod /mod/hang_gallery.ko kind=${kind}
p=/sys/module/hang_gallery/parameters/ready
n=0; while [ $n -lt 120 ] && [ "$(cat $p)" = 0 ]; do sleep 0.5; n=$((n+1)); done
dmesg | grep -o 'hang_gallery: .*' | while read -r _ words; do say "fact $words"; done`;

const hangs = (kind: string, about: string, before = "", after = ""): GuestState => ({
  about,
  own: ["hang_gallery"],
  script: `${before}${load(kind)}${after}; check hang-${kind} $(cat $p)`,
  took: /^1$/,
});

/** A hang that only time shows: the kernel's own limit is made short, and waited for. */
const hangsLong = (kind: string, about: string): GuestState =>
  hangs(
    kind,
    about,
    "echo 0 > /proc/sys/kernel/soft_watchdog; echo 5 > /proc/sys/kernel/hung_task_timeout_secs",
    "; sleep 14",
  );

/** A guest that ends: what kills it runs after everything was reported, and its memory is taken when `until` was printed. */
const dies = (name: string, about: string, after: string, until: RegExp, own: readonly string[] = []): GuestState => ({
  about,
  own,
  script: `echo 0 > /proc/sys/kernel/panic; check hang-${name} yes`,
  took: /^yes$/,
  after,
  until,
});

/** Without /proc/sysrq-trigger's own panic a module's does it. */
const loadLast = (kind: string, before = ""): string =>
  `${before}${load(kind).replaceAll("say ", "echo @lab:")}; sleep 100`;

export const galleryStates = {
  "hang-panic": dies("panic", "a module calls panic()", loadLast("panic"), /end Kernel panic/, ["hang_gallery"]),
  "hang-sysrq-c": dies("sysrq-c", "a crash that was asked for", "echo c > /proc/sysrq-trigger", /end Kernel panic/),
  "hang-oops-mutex": hangs("oops-mutex", "a task oopses with a mutex held, another wants it"),
  "hang-oops-panic": dies(
    "oops-panic",
    "the same with panic_on_oops",
    loadLast("oops-mutex", "echo 1 > /proc/sys/kernel/panic_on_oops\n"),
    /end Kernel panic/,
    ["hang_gallery"],
  ),
  "hang-soft-lockup": {
    ...hangs("soft-lockup", "CPU 1 loops with preemption off until the watchdog speaks"),
    after: "sleep 1000",
    until: /soft lockup/,
  },
  "hang-soft-lockup-panic": dies(
    "soft-lockup-panic",
    "the same with softlockup_panic",
    loadLast("soft-lockup", "echo 1 > /proc/sys/kernel/softlockup_panic\n"),
    /end Kernel panic/,
    ["hang_gallery"],
  ),
  "hang-hung-task-panic": dies(
    "hung-task-panic",
    "two mutexes taken crosswise, hung_task_panic",
    loadLast(
      "mutex-abba",
      "echo 5 > /proc/sys/kernel/hung_task_timeout_secs; echo 1 > /proc/sys/kernel/hung_task_panic\n",
    ),
    /end Kernel panic/,
    ["hang_gallery"],
  ),
  "hang-nmi": {
    ...dies(
      "nmi",
      "four CPUs in a spinlock hang, then the NMI button with unknown_nmi_panic",
      loadLast("spin-abba", "echo 1 > /proc/sys/kernel/unknown_nmi_panic\n"),
      /end Kernel panic/,
      ["hang_gallery"],
    ),
    nmi: /fact kind spin-abba/,
  },
  "hang-irqs-off": hangsLong("irqs-off", "CPU 1 loops with interrupts off"),
  "hang-spin-twice": hangs("spin-twice", "CPU 1 takes one spinlock twice"),
  "hang-spin-abba": hangs("spin-abba", "two CPUs take two spinlocks crosswise"),
  "hang-spin-forgotten": hangs("spin-forgotten", "a task ended without releasing a spinlock; CPU 2 spins for it"),
  "hang-spin-many": hangsLong("spin-many", "CPU 1 loops with a spinlock, all others but CPU 0 spin for it"),
  "hang-read-again": hangs("read-again", "a reader reads again behind a waiting writer of an rwlock"),
  "hang-timer-lock": hangs("timer-lock", "a timer wants the spinlock of what it interrupted"),
  "hang-mutex-exited": hangs("mutex-exited", "a mutex whose owner has exited"),
  "hang-mutex-abba": hangs("mutex-abba", "two tasks take two mutexes crosswise"),
  "hang-three-tasks": hangs("three-tasks", "mutex, rwsem, mutex: a circle of three tasks"),
  "hang-owner-in-io": hangsLong("owner-in-io", "a mutex whose owner waits for I/O that never ends"),
  "hang-rwsem-reader": hangsLong("rwsem-reader", "a sleeping reader, a writer, two readers behind it"),
  "hang-rwsem-lost": hangs("rwsem-lost", "a free rwsem whose writer was never woken"),
  "hang-completion": hangsLong("completion", "a completion that nobody completes"),
  "hang-lost-wakeup": hangs("lost-wakeup", "a completion that is done and whose waiter sleeps"),
  "hang-semaphore": hangsLong("semaphore", "a semaphore taken twice by one task"),
  "hang-work-flush": hangs("work-flush", "flush_work() with the mutex that the work wants"),
  "hang-ipi": hangsLong("ipi", "CPU 2 waits for an IPI to CPU 1, which has interrupts off"),
  "hang-rcu-cpu": hangs(
    "rcu-cpu",
    "a CPU that stays in an RCU reader; another task waits for a grace period",
    "echo 0 > /proc/sys/kernel/soft_watchdog; echo 5 > /proc/sys/kernel/hung_task_timeout_secs; echo 8 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
    "; sleep 20",
  ),
  "hang-rcu-task": hangs(
    "rcu-task",
    "a task that sleeps in an RCU reader",
    "echo 0 > /proc/sys/kernel/soft_watchdog; echo 5 > /proc/sys/kernel/hung_task_timeout_secs; echo 8 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
    "; sleep 20",
  ),
  "hang-kthread-stop": hangsLong("kthread-stop", "kthread_stop() of a thread that does not listen"),
  "hang-rt-inversion": hangs("rt-inversion", "an rt_mutex held by a task that loops, wanted by a realtime task"),
} as const satisfies Readonly<Record<string, GuestState>>;
