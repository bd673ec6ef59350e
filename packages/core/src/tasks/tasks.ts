// The tasks of the dump: name, PID, state and stack of each, from the kernel's own lists.

import { addressAdd, formatAddress, type VirtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { walkList } from "../kernel/layouts/lists.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";
import type { PerCpu } from "./per-cpu.ts";

const TASK = "struct task_struct";
/** More threads than a dump is expected to have; a longer list is cut and told. */
const MAX_TASKS = 1 << 17;

export interface Task {
  /** of the struct task_struct */
  readonly address: VirtualAddress;
  readonly pid: number;
  readonly comm: string;
  /** task_struct.__state (`state` before 5.14): 0 runnable, 1 interruptible, 2 uninterruptible … */
  readonly state: number | undefined;
  /** lowest address of its kernel stack */
  readonly stack: VirtualAddress | undefined;
  /** stack pointer saved when it was switched out */
  readonly sp: VirtualAddress | undefined;
}

/** One task. @throws PalimpsestError when its memory cannot be read */
export function readTask(kernel: Kernel, address: VirtualAddress): Task {
  const s = kernel.structures;
  const state = ["__state", "state"].find((member) => s.has(TASK, member));
  return {
    address,
    pid: s.has(TASK, "pid") ? Number(BigInt.asIntN(32, s.unsigned(address, TASK, "pid"))) : -1,
    comm: s.has(TASK, "comm") ? s.text(address, TASK, "comm") : "",
    state: state === undefined ? undefined : s.number(address, TASK, state),
    stack: s.has(TASK, "stack") ? s.pointer(address, TASK, "stack") : undefined,
    sp: s.has(TASK, "thread.sp") ? s.pointer(address, TASK, "thread.sp") : undefined,
  };
}

/** Like readTask; undefined for what is no task. A task's PID and name must look like ones. */
export function tryTask(kernel: Kernel, address: bigint): Task | undefined {
  if (address === 0n || (address & 7n) !== 0n) return undefined;
  try {
    const task = readTask(kernel, addressAdd(address as VirtualAddress, 0));
    const named = task.comm !== "" && /^[\x20-\x7e]+$/.test(task.comm);
    return named && task.pid >= 0 && task.pid <= 1 << 22 ? task : undefined;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

export interface TaskWalk {
  readonly tasks: readonly Task[];
  readonly problems: readonly string[];
}

/** All threads of all processes, and the idle task of CPU 0. Lists that loop or dangle are cut and told. */
export function walkTasks(kernel: Kernel): TaskWalk {
  const s = kernel.structures;
  const problems: string[] = [];
  const tasks: Task[] = [];
  const seen = new Set<bigint>();
  const add = (address: VirtualAddress): boolean => {
    if (seen.has(address) || tasks.length >= MAX_TASKS) return false;
    seen.add(address);
    try {
      tasks.push(readTask(kernel, address));
      return true;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`the task at ${formatAddress(address)}: ${error.message}`);
      return false;
    }
  };
  const init = kernel.find("init_task");
  const list = s.find(TASK, "tasks");
  if (init === undefined || list === undefined) {
    problems.push(
      `the tasks are unknown: ${init === undefined ? "no symbol init_task" : "no layout of task_struct.tasks"}`,
    );
    return { tasks, problems };
  }
  add(init);
  const leaders = walkList(kernel.memory, addressAdd(init, list.offset), list.offset, MAX_TASKS);
  if (leaders.problem !== undefined) problems.push(`the list of tasks: ${leaders.problem}`);
  for (const leader of leaders.entries) {
    add(leader);
    for (const thread of threadsOf(kernel, leader, problems)) add(thread);
  }
  return { tasks, problems };
}

function threadsOf(kernel: Kernel, leader: VirtualAddress, problems: string[]): readonly VirtualAddress[] {
  const s = kernel.structures;
  try {
    // signal_struct.thread_head: 0c740d0afc3b, 3.14; before, the ring task_struct.thread_group
    const node = s.find(TASK, "thread_node");
    const head = s.find("struct signal_struct", "thread_head");
    if (node !== undefined && head !== undefined) {
      const signal = s.pointer(leader, TASK, "signal");
      if (signal === 0n) return [];
      const walk = walkList(kernel.memory, addressAdd(signal, head.offset), node.offset, MAX_TASKS);
      if (walk.problem !== undefined) problems.push(`the threads of ${formatAddress(leader)}: ${walk.problem}`);
      return walk.entries;
    }
    const group = s.find(TASK, "thread_group");
    if (group === undefined) return [];
    const walk = walkList(kernel.memory, addressAdd(leader, group.offset), group.offset, MAX_TASKS);
    if (walk.problem !== undefined) problems.push(`the threads of ${formatAddress(leader)}: ${walk.problem}`);
    return walk.entries;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`the threads of ${formatAddress(leader)}: ${error.message}`);
    return [];
  }
}

/** The task that a CPU was running (`current`); undefined when the kernel does not tell. */
export function currentTask(kernel: Kernel, perCpu: PerCpu, cpu: number): Task | undefined {
  // pcpu_hot: e57ef2ed97c1, 6.2 to 6.14; current_task before and after
  const hot = kernel.structures.find("struct pcpu_hot", "current_task");
  const at =
    hot === undefined || kernel.find("pcpu_hot") === undefined
      ? perCpu.address("current_task", cpu)
      : perCpu.address("pcpu_hot", cpu);
  if (at === undefined) return undefined;
  const bytes = kernel.memory.tryRead(
    addressAdd(at, at === perCpu.address("current_task", cpu) ? 0 : (hot?.offset ?? 0)),
    8,
  );
  return bytes && tryTask(kernel, getU64(bytes, 0));
}

/** "insmod (PID 123)" */
export function taskName(task: Task): string {
  return `${task.comm} (PID ${task.pid})`;
}
