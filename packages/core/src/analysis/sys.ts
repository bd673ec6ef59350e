// `sys`, and the head of `diagnose`: what the machine was when the dump was taken, what its log says of its health, who spins
// and who sleeps uninterruptibly.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { formatAddress } from "../bytes/brand.ts";
import { actorName } from "../hangs/actors.ts";
import { lockText } from "../hangs/held-locks.ts";
import { MachineState } from "../hangs/machine-state.ts";
import { WaitGraph } from "../hangs/wait-graph.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { LogEvent } from "../kernel/log/log-events.ts";
import { machineOf } from "../kernel/machine.ts";
import { clockOf, hardwareOf, loadOf, memoryOf, nodeOf, taintOf } from "../kernel/state-facts.ts";
import { LockState } from "../locks/lock-state.ts";
import { isProved } from "../locks/waits/wait.ts";
import type { SysResult } from "../results/sys-results.ts";
import type { Triage, TriageEvents, TriageSleeper, TriageSpinner } from "../results/triage.ts";
import { taskStacks } from "../tasks/stacks.ts";
import { type TaskDetails, TaskReader } from "../tasks/task-facts.ts";
import { eventsOf } from "./hangs.ts";
import { sleepingPlace } from "./task-stacks.ts";

/** Tasks in D that are named. */
const SLEEPERS = 8;

export function sysOf(kernel: Kernel): SysResult {
  return {
    schema: "palimpsest/sys/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    triage: triageOf(new LockState(kernel), eventsOf(kernel)),
    notes: kernel.problems,
  };
}

/** @param events of the log, oldest first */
export function triageOf(state: LockState, events: readonly LogEvent[]): Triage {
  const { kernel } = state;
  const machine = machineOf(kernel);
  const seconds = clockOf(kernel);
  const now = new MachineState(kernel, state.perCpu).now;
  const reader = new TaskReader(kernel, state.perCpu);
  const tasks = state.tasks.tasks.map((task) => reader.of(task));
  const states: Record<string, number> = {};
  for (const { letter } of tasks) states[letter] = (states[letter] ?? 0) + 1;
  const waiting = tasks
    .filter(({ letter, running }) => letter === "D" && !running)
    .sort((a, b) => Number((b.since ?? 0n) - (a.since ?? 0n)));
  return {
    node: nodeOf(kernel) ?? null,
    hardware: hardwareOf(kernel) ?? null,
    date: seconds === undefined ? null : new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z"),
    uptime: now === undefined ? null : secondsOf(now),
    load: loadOf(kernel)?.map((each) => each.toFixed(2)) ?? null,
    cpus: { online: machine.online, possible: machine.possible ?? null },
    memory: memoryOf(kernel) ?? null,
    taint: taintOf(kernel) ?? null,
    tasks: { count: tasks.length, states },
    events: byKind(events),
    spinning: spinnersOf(state),
    uninterruptible: waiting.slice(0, SLEEPERS).map((each) => sleeperOf(kernel, each)),
    uninterruptibleLeftOut: Math.max(0, waiting.length - SLEEPERS),
  };
}

function spinnersOf(state: LockState): TriageSpinner[] {
  if (state.cpuWaits.length === 0) return [];
  const graph = new WaitGraph(state);
  return state.cpuWaits.map((wait): TriageSpinner => {
    const lock = wait.lock !== undefined && isProved(wait.evidence) ? wait.lock : undefined;
    const edge = graph.edges.find((each) => each.kind === "spin" && each.from.cpu === wait.cpu && each.lock === lock);
    const holders = edge?.to.map(actorName) ?? [];
    const unknown =
      lock === undefined || holders.length > 0
        ? undefined
        : edge?.moment === true
          ? "it is being handed over"
          : graph.holderUnknown(lock);
    return {
      cpu: wait.cpu,
      task: wait.task === undefined ? null : { pid: wait.task.pid, comm: wait.task.comm },
      kind: wait.kind === "rwlock" ? `rwlock (${wait.mode === "reader" ? "read" : "write"})` : "spinlock",
      lock: lock === undefined ? null : { address: formatAddress(lock), symbol: lockText(state.kernel, lock) },
      holder: holders.length === 0 ? null : holders.join(", "),
      holderUnknown: unknown ?? null,
    };
  });
}

const secondsOf = (ns: bigint): string => (Number(ns / 1_000_000n) / 1000).toFixed(3);

function sleeperOf(kernel: Kernel, { task, since }: TaskDetails): TriageSleeper {
  return {
    pid: task.pid,
    comm: task.comm,
    since: since === undefined ? null : secondsOf(since),
    sleepsIn: sleepingPlace(taskStacks(kernel).ofSleeping(task, 24)),
  };
}

/** One entry a kind, in the order of their first lines. */
function byKind(events: readonly LogEvent[]): TriageEvents[] {
  const kinds = [...new Set(events.map(({ kind }) => kind))];
  return kinds.map((kind) => {
    const those = events.filter((event) => event.kind === kind);
    const [{ text, nanoseconds, cpu, task }] = those;
    return {
      kind,
      count: those.length,
      text,
      time: nanoseconds === undefined ? null : secondsOf(nanoseconds),
      cpu: cpu ?? null,
      task: task === undefined ? null : { pid: task.pid, comm: task.comm },
    };
  });
}
