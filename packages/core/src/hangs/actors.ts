// Who takes part in a hang: tasks, and CPUs by the task that they run. One list of all of them with their stacks, made once,
// since holders, sleeps and lock-ups all look through it.
import { formatAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Frame } from "../tasks/backtrace.ts";
import { taskStacks } from "../tasks/stacks.ts";
import { type TaskDetails, TaskReader } from "../tasks/task-facts.ts";
import { type Task, type TaskWalk, tryTask } from "../tasks/tasks.ts";
import type { Unwound } from "../tasks/unwind/unwinder.ts";

export interface Actor {
  /** address of the task_struct: what tells actors apart */
  readonly key: string;
  readonly task: Task;
  readonly details: TaskDetails;
  /** the CPU that it is on now */
  readonly cpu: number | undefined;
  readonly interruptsOff: boolean | undefined;
}

/** Functions between the scheduler and what a task waits in. */
const SCHEDULER = /^(__switch_to|_*schedule|schedule_|io_schedule|preempt_schedule|__cond_resched)/;

export class Actors {
  readonly all: readonly Actor[];
  private readonly byKey = new Map<string, Actor>();
  private readonly stacks = new Map<string, Unwound>();
  /** task_structs of all lists: who is on none has exited */
  private readonly listed: ReadonlySet<bigint>;

  constructor(
    readonly kernel: Kernel,
    walk: TaskWalk,
  ) {
    const stacks = taskStacks(kernel);
    const reader = new TaskReader(kernel, stacks.perCpu);
    this.listed = new Set(walk.tasks.map(({ address }) => address));
    const onCpu = new Map<bigint, { cpu: number; off: boolean | undefined; task: Task }>();
    for (let cpu = 0; cpu < Math.min(stacks.perCpu.possible, 1024); cpu++) {
      const task = stacks.currentOf(cpu);
      const note = kernel.dump.cpus.find(({ index }) => index === cpu);
      const off = note && (note.registers.rflags & (1n << 9n)) === 0n;
      if (task !== undefined) onCpu.set(task.address, { cpu, off, task });
    }
    const idle = [...onCpu.values()].flatMap(({ task }) => (this.listed.has(task.address) ? [] : [task]));
    this.all = [...walk.tasks, ...idle].map((task) => {
      const on = onCpu.get(task.address);
      return {
        key: formatAddress(task.address),
        task,
        details: reader.of(task),
        cpu: on?.cpu,
        interruptsOff: on?.off,
      };
    });
    for (const actor of this.all) this.byKey.set(actor.key, actor);
  }

  get(key: string): Actor | undefined {
    return this.byKey.get(key);
  }

  onCpu(cpu: number): Actor | undefined {
    return this.all.find((actor) => actor.cpu === cpu);
  }

  isListed(address: bigint): boolean {
    return this.listed.has(address);
  }

  /** A task that no list has: what its structure still says, when that is one. */
  unlisted(address: bigint): Task | undefined {
    return this.listed.has(address) ? undefined : tryTask(this.kernel, address);
  }

  stack(actor: Actor): Unwound {
    let unwound = this.stacks.get(actor.key);
    if (unwound === undefined) {
      const stacks = taskStacks(this.kernel);
      const note = actor.cpu === undefined ? undefined : this.kernel.dump.cpus.find(({ index }) => index === actor.cpu);
      unwound =
        actor.cpu === undefined
          ? stacks.ofSleeping(actor.task)
          : note === undefined
            ? { levels: [], end: "stopped", why: "its registers are not in the dump" }
            : (stacks.ofCpu(note) ?? stacks.scannedCpu(note));
      this.stacks.set(actor.key, unwound);
    }
    return unwound;
  }

  /** All proved frames of all levels, innermost first. */
  frames(actor: Actor): readonly Frame[] {
    return this.stack(actor).levels.flatMap(({ frames }) => frames.filter(({ checked }) => checked));
  }

  /** Where it stands, without the scheduler's own functions: the first few. */
  place(actor: Actor, count = 4): string[] {
    return this.frames(actor)
      .filter(({ symbol }) => !SCHEDULER.test(symbol))
      .slice(0, count)
      .map(({ symbol }) => symbol);
  }
}

/** "insmod (PID 12)", "insmod (PID 12) on CPU 3" */
export function actorName({ task, cpu }: Pick<Actor, "task" | "cpu">): string {
  const name = `${task.comm} (PID ${task.pid})`;
  return cpu === undefined ? name : `CPU ${cpu} [${name}]`;
}
