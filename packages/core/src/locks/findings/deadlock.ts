// hang.deadlock: tasks of which each sleeps for a lock that the next one has, in a circle; hang.self-deadlock: one that sleeps
// for what it has. Waiter lists prove who sleeps for
// what, owner words prove who has it; a reader's hint or a semaphore's last holder proves nothing and is not followed.
import { formatAddress, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { DeadlockStep, HangCause, HangDeadlock } from "../../results/types.ts";
import { type Task, taskName } from "../../tasks/tasks.ts";
import type { LockKind } from "../code/lock-kinds.ts";
import { callersOf } from "../waits/lock-waiters.ts";
import { provenOwner } from "../waits/owner.ts";
import type { TaskWait } from "../waits/wait.ts";
import type { LockDecoder } from "../words/lock-forms.ts";
import { symbolOf } from "./lock-facts.ts";

/** Longest circle that is told. */
const MAX_CYCLE = 64;
const FRAMES = 4;

interface Edge {
  readonly wait: TaskWait;
  /** "0x…" of the owner's task_struct */
  readonly owner: string;
}

/** All circles, each once. */
export function deadlocks(
  kernel: Kernel,
  decoder: LockDecoder,
  waits: readonly TaskWait[],
): (HangDeadlock | HangCause)[] {
  const edges = new Map<string, Edge>();
  for (const wait of waits) {
    // A task that was woken is about to take the lock or to try again.
    if (wait.task.state === 0) continue;
    const owner = provenOwner(decoder, wait)?.address;
    if (owner !== undefined) edges.set(formatAddress(wait.task.address), { wait, owner });
  }
  const out: (HangDeadlock | HangCause)[] = [];
  const done = new Set<string>();
  for (const start of edges.keys()) {
    const path: string[] = [];
    let at: string | undefined = start;
    while (at !== undefined && !done.has(at) && edges.has(at)) {
      done.add(at);
      path.push(at);
      at = edges.get(at)?.owner;
    }
    const from = at === undefined ? -1 : path.indexOf(at);
    if (from < 0) continue;
    const cycle = path.slice(from, from + MAX_CYCLE).flatMap((task) => edges.get(task) ?? []);
    out.push(cycle.length === 1 ? itself(kernel, cycle[0], edges) : findingOf(kernel, cycle));
  }
  return out;
}

function stepOf(kernel: Kernel, { wait: { task, lock, kind, frames } }: Edge): DeadlockStep {
  const name = symbolOf(kernel, lock);
  return {
    task: taskName(task),
    address: formatAddress(task.address),
    waitsFor: name === "" ? `the ${TYPES[kind] ?? kind} at ${formatAddress(lock)}` : name,
    lock: formatAddress(lock),
    type: TYPES[kind] ?? kind,
    at: [frames[0]?.symbol ?? "", ...callersOf(frames)].filter((place) => place !== "").slice(0, FRAMES),
  };
}

/** One task that has taken a lock twice, and how many sleep for what it has. */
function itself(kernel: Kernel, edge: Edge, edges: ReadonlyMap<string, Edge>): HangCause {
  const { wait } = edge;
  const step = stepOf(kernel, edge);
  const behind = new Set([step.address]);
  for (let before = 0; before < behind.size; ) {
    before = behind.size;
    for (const [task, { owner }] of edges) if (behind.has(owner)) behind.add(task);
  }
  return {
    id: "hang.self-deadlock",
    severity: "error",
    address: step.lock,
    length: 8,
    object: objectOf(kernel, wait),
    symbol: symbolOf(kernel, wait.lock),
    title: `${step.task} waits for ${step.waitsFor}, which it has itself`,
    notes: interruptible(wait.task) ? ["A signal to it would end it."] : [],
    chain: [
      {
        who: step.task,
        pid: wait.task.pid,
        cpu: null,
        what: `sleeps for the ${step.type} ${step.waitsFor}`,
        lock: step.lock,
        at: step.at,
      },
    ],
    behind: behind.size - 1,
    source: "dump",
  };
}

function objectOf(kernel: Kernel, { lock }: TaskWait): string {
  const near = toKernelOffset(lock) === undefined ? undefined : kernel.allSymbols.nearest(lock);
  return near?.symbol.module ?? "vmlinux";
}

function findingOf(kernel: Kernel, cycle: readonly Edge[]): HangDeadlock {
  const steps = cycle.map((edge) => stepOf(kernel, edge));
  const [{ wait }] = cycle;
  const names = steps.map((step) => step.task).join(", ");
  return {
    id: "hang.deadlock",
    severity: "error",
    address: formatAddress(wait.lock),
    length: 8,
    object: objectOf(kernel, wait),
    symbol: symbolOf(kernel, wait.lock),
    title: `${steps.length} tasks wait for each other: ${names}`,
    notes: [
      ...steps.map((step, i) => {
        const next = steps[(i + 1) % steps.length];
        const at = step.at.length === 0 ? "" : ` in ${step.at.join(" ← ")}`;
        return `${step.task} waits for ${step.waitsFor} (${step.type})${at}; ${next.task} has it.`;
      }),
      ...(cycle.every(({ wait: { task } }) => interruptible(task)) ? ["A signal to one of them would end it."] : []),
    ],
    cycle: steps,
  };
}

const TYPES: Readonly<Partial<Record<LockKind, string>>> = { rwsem: "rw_semaphore", "rt-mutex": "rt_mutex" };

/** TASK_INTERRUPTIBLE */
const interruptible = (task: Task): boolean => task.state !== undefined && (task.state & 1) !== 0;
