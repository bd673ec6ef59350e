// Who waits for one lock, in the order in which they will get it: CPUs by ticket or MCS queue, tasks by the lock's list.
import { formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import type { TaskLockFact, WaitingFact } from "../../results/lock-results.ts";
import type { Frame } from "../../tasks/backtrace.ts";
import type { Task } from "../../tasks/tasks.ts";
import type { Waits } from "../find/known-locks.ts";
import { type LockForm, spins } from "../words/lock-forms.ts";
import type { QueuedWord } from "../words/qspinlock.ts";
import type { TicketWord } from "../words/ticket.ts";
import type { LockWord } from "../words/types.ts";
import type { QueueNode, SpinQueues } from "./queue.ts";
import { type CpuWait, isProved, type TaskWait } from "./wait.ts";

/** Callers that are told of each. */
const CALLERS = 4;
/** What stale words on a stack look like above a function that was jumped to. */
const SCHEDULER = /^(__switch_to|finish_task_switch|_*schedule|schedule_|preempt_)/;

export const taskFactOf = (task: Task): TaskLockFact => ({
  address: formatAddress(task.address),
  pid: task.pid,
  comm: task.comm,
});

/** CPUs that may wait for this lock as well as for another: of which nothing proves for which one they do. */
export const openWaits = (waits: readonly CpuWait[], lock: VirtualAddress): number =>
  waits.filter((wait) => !isProved(wait.evidence) && wait.lock !== lock).length;

/** Return addresses from the second frame on, those that are likely. */
export function callersOf(frames: readonly Frame[]): string[] {
  return frames
    .slice(1)
    .filter((frame) => frame.checked || !SCHEDULER.test(frame.symbol))
    .slice(0, CALLERS)
    .map((frame) => frame.symbol);
}

function ofCpu(wait: CpuWait): WaitingFact {
  return {
    cpu: wait.cpu,
    ...(wait.task === undefined ? {} : { task: taskFactOf(wait.task) }),
    ...(wait.mode === undefined ? {} : { kind: wait.mode }),
    ...(isProved(wait.evidence) ? {} : { guess: true }),
    ...(wait.ticket === undefined ? {} : { ticket: wait.ticket }),
    at: wait.frames[0]?.symbol ?? "",
    callers: callersOf(wait.frames),
    interruptsOff: wait.interruptsOff,
    asleep: wait.asleep,
  };
}

function ofTask(wait: TaskWait): WaitingFact {
  return {
    task: taskFactOf(wait.task),
    ...(wait.mode === undefined ? {} : { kind: wait.mode }),
    at: wait.frames[0]?.symbol ?? "",
    callers: callersOf(wait.frames),
  };
}

/** @param word the lock as `form` reads it */
export function waitersOf(
  lock: VirtualAddress,
  form: LockForm,
  word: LockWord,
  waits: Waits,
  queues: SpinQueues,
): WaitingFact[] {
  if (!spins(form)) {
    // The list's order; what the tasks' stacks tell is added.
    const told = new Map(waits.tasks.map((wait) => [formatAddress(wait.task.address), wait]));
    return (word.waiters ?? []).map(({ task, kind }) => {
      const wait = told.get(task.address);
      const known = wait === undefined ? { task } : ofTask(wait);
      return { ...known, ...(kind === undefined ? {} : { kind }) };
    });
  }
  const own = waits.cpus.filter((wait) => wait.lock === lock);
  if (form === "ticket") {
    const { head } = word as TicketWord;
    const turn = (wait: CpuWait): number => (wait.ticket === undefined ? 1 << 16 : (wait.ticket - head) & 0xffff);
    return own.sort((a, b) => turn(a) - turn(b)).map(ofCpu);
  }
  if (form !== "qspinlock") return own.map(ofCpu);
  const queue = queues.queueOf((word as QueuedWord).tail);
  const inQueue = new Set(queue.map((node) => node.cpu));
  // Who has the pending bit has no node and comes before the queue.
  const pending = own.filter((wait) => !inQueue.has(wait.cpu)).map(ofCpu);
  return [...pending, ...queue.map((node) => ofNode(node, own))];
}

function ofNode(node: QueueNode, own: readonly CpuWait[]): WaitingFact {
  const wait = own.find((each) => each.cpu === node.cpu);
  return { ...(wait === undefined ? { cpu: node.cpu } : ofCpu(wait)), node: node.index };
}
