// Everything about the locks of one kernel that several questions share: who waits, where, and how words are read. Each part is
// made when it is first asked for.
import type { Kernel } from "../kernel/kernel.ts";
import { PerCpu } from "../tasks/per-cpu.ts";
import { TextRanges, threadSize } from "../tasks/stack-scan.ts";
import { type TaskWalk, walkTasks } from "../tasks/tasks.ts";
import { Implementations } from "./code/implementation.ts";
import type { LockSite } from "./code/lock-sites.ts";
import { readLockSlots } from "./code/slots.ts";
import { takersOf } from "./code/takers.ts";
import { CpuWaits } from "./waits/cpu-waits.ts";
import { SpinQueues } from "./waits/queue.ts";
import { TaskWaits } from "./waits/task-waits.ts";
import type { CpuWait, TaskWait, Wait } from "./waits/wait.ts";
import { WaitFunctions } from "./waits/wait-functions.ts";
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
      const { kernel, words, implementations, queues, perCpu } = this;
      const takers = takersOf(readLockSlots(kernel, implementations), this.sites);
      const functions = new WaitFunctions(implementations, takers, () => words.family);
      this.spinning = new CpuWaits(kernel, words, functions, queues, perCpu).all();
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

  /** Everybody who waits for a lock. */
  get waits(): readonly Wait[] {
    return [...this.cpuWaits, ...this.taskWaits];
  }
}
