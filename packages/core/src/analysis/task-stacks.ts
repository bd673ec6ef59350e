// The results of `tasks` and `stack`: tasks chosen by what users type, their stacks, equal ones put together.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { formatAddress } from "../bytes/brand.ts";
import { MissingError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { StackFact, StackResult, TaskFact, TasksResult, UnwoundLevelFact } from "../results/task-results.ts";
import { taskStacks } from "../tasks/stacks.ts";
import { type TaskDetails, TaskReader } from "../tasks/task-facts.ts";
import { type Task, walkTasks } from "../tasks/tasks.ts";
import { orcTables } from "../tasks/unwind/orc-tables.ts";
import type { Unwound } from "../tasks/unwind/unwinder.ts";
import { globExpression } from "./pattern.ts";

/** Functions of the scheduler, which every sleeping task stands in. */
const SCHEDULER =
  /^(__switch_to|__?schedule|schedule|preempt_schedule|schedule_(timeout|hrtimeout|preempt|idle)\w*|io_schedule\w*|context_switch|__cond_resched|do_nanosleep_schedule)/;
const IF = 1n << 9n;

export interface TaskChoice {
  /** "all", a PID, "0x…" of a task_struct, "cpu:N", "cpu:*", or a name with * and ? */
  readonly pattern?: string;
  /** letters as `ps` has them: "D", "DR" */
  readonly states?: string;
}

interface Chosen {
  readonly details: readonly TaskDetails[];
  readonly all: readonly TaskDetails[];
  readonly problems: readonly string[];
}

function choose(kernel: Kernel, reader: TaskReader, choice: TaskChoice): Chosen {
  const walk = walkTasks(kernel);
  const idle = idleTasks(kernel, walk.tasks);
  const all = [...walk.tasks, ...idle].map((task) => reader.of(task));
  const matches = matcher(choice.pattern);
  const states = choice.states;
  return {
    all,
    problems: walk.problems,
    details: all.filter((each) => matches(each) && (states === undefined || states.includes(each.letter))),
  };
}

/** Idle tasks of the other CPUs are on no list: only a CPU that runs its own leads to one. */
function idleTasks(kernel: Kernel, listed: readonly Task[]): Task[] {
  const stacks = taskStacks(kernel);
  const known = new Set<bigint>(listed.map(({ address }) => address));
  const out: Task[] = [];
  for (let cpu = 0; cpu < Math.min(stacks.perCpu.possible, 1024); cpu++) {
    const task = stacks.currentOf(cpu);
    if (task === undefined || known.has(task.address)) continue;
    known.add(task.address);
    out.push(task);
  }
  return out;
}

function matcher(pattern: string | undefined): (details: TaskDetails) => boolean {
  if (pattern === undefined || pattern === "all" || pattern === "*") return () => true;
  if (pattern === "cpu:*") return (each) => each.running;
  const cpu = /^cpu:(\d{1,5})$/.exec(pattern);
  if (cpu !== null) return (each) => each.running && each.cpu === Number(cpu[1]);
  if (/^\d{1,7}$/.test(pattern)) return (each) => each.task.pid === Number(pattern);
  if (/^(0x)?[0-9a-f]{16}$/i.test(pattern)) {
    const address = BigInt(pattern.startsWith("0x") ? pattern : `0x${pattern}`);
    return (each) => each.task.address === address;
  }
  const expression = globExpression(pattern);
  return (each) => expression.test(each.task.comm);
}

function factOf({ task, ...more }: TaskDetails, pids: ReadonlyMap<bigint, number>, sleepsIn: string | null): TaskFact {
  return {
    address: formatAddress(task.address),
    pid: task.pid,
    tgid: more.tgid,
    parent: (more.parent && pids.get(more.parent)) ?? null,
    comm: task.comm,
    state: more.letter,
    exitState: more.exitState,
    cpu: more.cpu ?? null,
    running: more.running,
    kernelThread: more.kernelThread,
    since: more.since === undefined ? null : secondsText(more.since),
    sleepsIn,
  };
}

const secondsText = (ns: bigint): string =>
  `${ns / 1_000_000_000n}.${((ns % 1_000_000_000n) / 1_000_000n).toString().padStart(3, "0")}`;

/** The first frame that is not the scheduler's. */
export function sleepingPlace({ levels }: Unwound): string | null {
  const frames = levels[0]?.frames ?? [];
  return (frames.find(({ symbol, checked }) => checked && !SCHEDULER.test(symbol)) ?? frames[0])?.symbol ?? null;
}

/** Result of `tasks`, by PID. */
export function tasksOf(kernel: Kernel, choice: TaskChoice): TasksResult {
  const stacks = taskStacks(kernel);
  const reader = new TaskReader(kernel, stacks.perCpu);
  const { details, all, problems } = choose(kernel, reader, choice);
  const pids = new Map<bigint, number>(all.map(({ task, tgid }) => [task.address, tgid]));
  const tasks = details.map((each) => {
    const asleep = !each.running && each.exitState === 0;
    return factOf(each, pids, asleep ? sleepingPlace(stacks.ofSleeping(each.task, 24)) : null);
  });
  return {
    schema: "palimpsest/tasks/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    tasks: tasks.sort((a, b) => a.pid - b.pid || (a.cpu ?? 0) - (b.cpu ?? 0)),
    leftOut: all.length - details.length,
    complete: problems.length === 0,
    notes: [...problems, ...kernel.problems],
  };
}

/** The stack of one task, wherever it is; undefined for a running one whose registers are not in the dump. */
export function stackOf(kernel: Kernel, { task, running, cpu }: TaskDetails): Unwound | undefined {
  const stacks = taskStacks(kernel);
  if (!running) return stacks.ofSleeping(task);
  const note = kernel.dump.cpus.find(({ index }) => index === cpu);
  return note && (stacks.ofCpu(note) ?? stacks.scannedCpu(note));
}

/**
 * Result of `stack`: tasks with the same frames are told once.
 * @throws MissingError when no task is meant
 */
export function stacksOf(kernel: Kernel, choice: TaskChoice): StackResult {
  const stacks = taskStacks(kernel);
  const reader = new TaskReader(kernel, stacks.perCpu);
  const { details, all, problems } = choose(kernel, reader, choice);
  if (details.length === 0) {
    throw new MissingError(
      `a task that "${choice.pattern ?? "all"}" means`,
      "it is a PID, the address of a task_struct, cpu:N, all, or a name with * and ?; palimpsest tasks DUMP lists them",
    );
  }
  const pids = new Map<bigint, number>(all.map(({ task, tgid }) => [task.address, tgid]));
  const groups = new Map<string, { fact: Omit<StackFact, "tasks">; tasks: TaskFact[] }>();
  for (const each of details) {
    const unwound: Unwound = stackOf(kernel, each) ?? {
      levels: [],
      end: "stopped",
      why: "its registers are not in the dump",
    };
    const fact = stackFact(unwound);
    const task = factOf(each, pids, each.running ? null : sleepingPlace(unwound));
    const key = JSON.stringify([
      each.running ? task.address : "",
      fact.levels.map(({ frames }) => frames.map(({ address, how }) => `${address} ${how}`)),
      fact.end,
      fact.why,
    ]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { fact, tasks: [task] });
    else group.tasks.push(task);
  }
  const version = orcTables(kernel).version;
  return {
    schema: "palimpsest/stack/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    method: version === undefined ? "scan" : `ORC (version ${version})`,
    stacks: [...groups.values()].map(({ fact, tasks }) => ({ tasks: tasks.sort((a, b) => a.pid - b.pid), ...fact })),
    notes: [...problems, ...kernel.problems],
  };
}

function stackFact({ levels, end, why }: Unwound): Omit<StackFact, "tasks"> {
  return {
    levels: levels.map(
      ({ rip, sp, registers, rflags, frames }, level): UnwoundLevelFact => ({
        level,
        registers: Object.fromEntries(
          [["rip", rip], ["rsp", sp], ...Object.entries(registers)].map(([name, value]) => [
            name,
            formatAddress(BigInt(value)),
          ]),
        ),
        interruptsOff: rflags === undefined ? null : (rflags & IF) === 0n,
        frames: frames.map(({ address, symbol, at, how, checked, stack }) => ({
          address: formatAddress(address),
          symbol,
          at: at === undefined ? null : formatAddress(at),
          how,
          checked,
          stack: stack ?? null,
        })),
      }),
    ),
    end,
    why: why ?? null,
  };
}
