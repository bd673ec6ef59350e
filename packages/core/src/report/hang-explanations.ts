// What each finding about standing still and dying means: the part of explanations.ts that is about hangs.
import type { HangCause } from "../results/types.ts";

interface Words {
  readonly title: string;
  readonly means: string;
  readonly decided: string;
  readonly next: string;
}

export const HANG_EXPLANATIONS: Readonly<Record<HangCause["id"], Words>> = {
  "hang.self-deadlock": {
    title: "somebody waits for what it has itself",
    means:
      "A lock is taken twice on one CPU or by one task, a reader reads again behind a waiting writer, or an interrupt wants what the code that it interrupted has. It never ends.",
    decided:
      "A register of the running loop or a waiter list proves who waits for which lock. The code of each function on the same stack is followed from its entry to where it stands: on all paths it has taken the lock and not released it.",
    next: "palimpsest stack DUMP cpu:N shows both places. Take the lock once, or with interrupts off.",
  },
  "hang.lost-unlock": {
    title: "a lock is taken, CPUs spin for it, and nobody has it",
    means: "Whoever took it went away without a release, or wrote the word by mistake.",
    decided:
      "The registers of all online CPUs are in the dump; all others are idle, in user mode or spin themselves, and no function on any stack stands between a lock and an unlock of that address, or of a lock that it reaches through a pointer: then the holder is unknown, and `sys` says so instead. All stacks can be followed to their ends. A lock that is being handed over is none.",
    next: "Look for a way out of a function without an unlock: palimpsest locks DUMP WHERE names the code that takes it.",
  },
  "hang.lost-wakeup": {
    title: "a task sleeps for what is free or complete",
    means:
      "The release or completion happened and the sleeper was not woken, or it went to sleep without looking again.",
    decided:
      "The waiter is on the list, its task sleeps, the word says that nobody has it (or the completion is done), nobody else who waited for it has been woken, and no CPU or runnable task is in code that wakes somebody or goes on from such a sleep.",
    next: "Look at who releases without the lock's own functions, and at barriers between the condition and the sleep.",
  },
  "hang.dead-owner": {
    title: "a lock is held by a task that has exited",
    means: "Nobody will release it. An oops in the owner is the usual cause.",
    decided: "The lock's word names a task that is on no list of tasks any more, or whose exit state is set.",
    next: "palimpsest log DUMP tells what the owner died of.",
  },
  "hang.waiting-for-ipi": {
    title: "a CPU waits for an answer of one that has interrupts off",
    means:
      "Calls across CPUs (TLB flushes, code patching, smp_call_function) stand still until that CPU takes interrupts.",
    decided:
      "The waiting CPU stands in the cross-call's wait, the other's queue of calls is not empty, and its flags have interrupts off.",
    next: "palimpsest stack DUMP cpu:N of the silent CPU shows where it turned interrupts off.",
  },
  "hang.work-flush": {
    title: "a task flushes a work that waits for what the flusher has",
    means: "The work cannot end before the flusher goes on, and the flusher waits for the work.",
    decided:
      "The flush's barrier is among the works of a worker, and that worker waits, directly or not, for the flusher.",
    next: "Flush before taking the lock, or do not take it in the work.",
  },
  "hang.rcu-stall": {
    title: "a grace period does not end",
    means:
      "A CPU or a task stays inside an RCU reader, or does not pass a quiescent state; memory is not freed, updates wait.",
    decided:
      "A grace period is older than the kernel's own limit, and the tree's masks and lists name the CPUs and tasks that it waits for.",
    next: "palimpsest stack DUMP shows where they stand.",
  },
  "hang.soft-lockup": {
    title: "a CPU does not let other tasks run",
    means: "Code runs in a loop, or waits for a lock, with preemption off.",
    decided:
      "The CPU's watchdog has not run for twice watchdog_thresh seconds, by watchdog_touch_ts against the scheduler's clock. A note when only the log says so.",
    next: "palimpsest stack DUMP cpu:N.",
  },
  "hang.hard-lockup": {
    title: "a CPU runs with interrupts off for too long",
    means: "It takes no timer interrupt any more: a loop or a wait with interrupts off.",
    decided:
      "Its flags have interrupts off, and its runqueue's clock is behind the others' by watchdog_thresh seconds or more. A note when only the log says so.",
    next: "palimpsest stack DUMP cpu:N.",
  },
  "hang.hung-task": {
    title: "a task has slept uninterruptibly for longer than the kernel's limit",
    means: "What it waits for in the end (I/O, a completion, a sleeping holder) does not come. The chain says what.",
    decided:
      "Its state, and the time since it last ran against hung_task_timeout_secs (120 s where that is off). A note when only the log says so.",
    next: "Read the chain to its end: that is what to look at.",
  },
  "crash.panic": {
    title: "the kernel panicked",
    means: "It stopped itself. A note when somebody asked for it (SysRq c, the NMI button).",
    decided: "The line of panic() in the log.",
    next: "What comes before it in palimpsest log DUMP is the cause.",
  },
  "crash.oops": {
    title: "the kernel oopsed or hit a BUG",
    means: "A task died in kernel code; locks that it had stay taken.",
    decided: "The first line of that kind in the log; later ones often follow from it.",
    next: "palimpsest log DUMP shows registers and the trace, palimpsest dis DUMP WHERE the code.",
  },
};
