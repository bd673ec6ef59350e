// Everything about the locks of one kernel that several questions share: who waits, where, and how words are read. Each part is
// made when it is first asked for.
import type { KernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { PerCpu } from "../tasks/per-cpu.ts";
import { TextRanges, threadSize } from "../tasks/stack-scan.ts";
import { type TaskWalk, walkTasks } from "../tasks/tasks.ts";
import { Implementations } from "./code/implementation.ts";
import type { LockSite } from "./code/lock-sites.ts";
import { takes } from "./types.ts";
import { type CpuWait, CpuWaits } from "./waits/cpu-waits.ts";
import { SpinQueues } from "./waits/queue.ts";
import { type TaskWait, TaskWaits } from "./waits/task-waits.ts";
import { LockDecoder } from "./words/lock-forms.ts";
import { SpinlockWords } from "./words/spinlock-word.ts";

/** CPUs whose queue nodes are read. */
const MAX_CPUS = 1024;

export class LockState {
  readonly perCpu: PerCpu;
  readonly words: SpinlockWords;
  readonly decoder: LockDecoder;
  private spinQueues: SpinQueues | undefined;
  private spinning: readonly CpuWait[] | undefined;
  private walk: TaskWalk | undefined;
  private sleeping: readonly TaskWait[] | undefined;

  /** @param sites lock sites of the code, where it was audited: functions that these call take locks too */
  constructor(
    readonly kernel: Kernel,
    readonly implementations = new Implementations(kernel),
    private readonly sites: readonly LockSite[] = [],
  ) {
    this.perCpu = new PerCpu(kernel);
    this.words = new SpinlockWords(kernel, implementations);
    this.decoder = new LockDecoder(kernel, this.words);
  }

  get queues(): SpinQueues {
    const cpus = Array.from({ length: Math.min(this.perCpu.possible, MAX_CPUS) }, (_, cpu) => cpu);
    this.spinQueues ??= new SpinQueues(this.kernel, this.perCpu, cpus);
    return this.spinQueues;
  }

  /** CPUs that wait for spinlocks and rwlocks. */
  get cpuWaits(): readonly CpuWait[] {
    if (this.spinning === undefined) {
      const takers = new Set<KernelOffset>();
      for (const { slot, target } of this.sites) if (takes(slot.role) && target !== undefined) takers.add(target);
      const { kernel, words, implementations, queues, perCpu } = this;
      this.spinning = new CpuWaits(kernel, words, implementations, queues, perCpu, takers).all();
    }
    return this.spinning;
  }

  get tasks(): TaskWalk {
    this.walk ??= walkTasks(this.kernel);
    return this.walk;
  }

  /** Tasks that sleep for mutexes, rw_semaphores, semaphores and rt_mutexes. */
  get taskWaits(): readonly TaskWait[] {
    if (this.sleeping === undefined) {
      const waits = new TaskWaits(this.kernel, new TextRanges(this.kernel), threadSize(this.kernel));
      this.sleeping = this.tasks.tasks.flatMap((task) => waits.of(task) ?? []);
    }
    return this.sleeping;
  }
}
