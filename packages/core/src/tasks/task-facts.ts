// What `tasks` tells of a task beyond what the other rooms need of it: process, parent, CPU, state and since when.
import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";
import type { PerCpu } from "./per-cpu.ts";
import { stateLetter } from "./task-state.ts";
import { currentTask, type Task } from "./tasks.ts";

const TASK = "struct task_struct";
/** A task is not asleep for longer: eleven years. */
const LONGEST = 1n << 58n;

export interface TaskDetails {
  readonly task: Task;
  readonly tgid: number;
  readonly parent: VirtualAddress | undefined;
  readonly letter: string;
  readonly exitState: number;
  /** the CPU that it runs on or ran on last */
  readonly cpu: number | undefined;
  readonly running: boolean;
  /** ns since it last came onto a CPU (sched_info.last_arrival against its runqueue's clock) */
  readonly since: bigint | undefined;
  readonly kernelThread: boolean;
}

/** PF_KTHREAD (include/linux/sched.h), 2.6.28 */
const PF_KTHREAD = 0x200000n;

export class TaskReader {
  private readonly running = new Set<bigint>();
  private readonly clocks = new Map<number, bigint | undefined>();

  constructor(
    private readonly kernel: Kernel,
    private readonly perCpu: PerCpu,
  ) {
    for (let cpu = 0; cpu < Math.min(perCpu.possible, 1024); cpu++) {
      const task = currentTask(kernel, perCpu, cpu);
      if (task !== undefined) this.running.add(task.address);
    }
  }

  isRunning(task: Task): boolean {
    return this.running.has(task.address);
  }

  of(task: Task): TaskDetails {
    const number = (path: string): bigint | undefined => this.member(task.address, path);
    const exitState = Number(number("exit_state") ?? 0n);
    const cpu = number("cpu") ?? number("thread_info.cpu");
    const known = cpu === undefined || cpu >= BigInt(this.perCpu.possible) ? undefined : Number(cpu);
    const parent = number("real_parent");
    return {
      task,
      tgid: Number(number("tgid") ?? BigInt(task.pid)),
      parent: parent === undefined || parent === 0n ? undefined : virtualAddress(parent),
      letter: stateLetter(this.kernel, task.state, exitState),
      exitState,
      cpu: known,
      running: this.isRunning(task),
      since: this.since(number("sched_info.last_arrival"), known),
      kernelThread: ((number("flags") ?? 0n) & PF_KTHREAD) !== 0n,
    };
  }

  private member(address: VirtualAddress, path: string): bigint | undefined {
    const { structures: s } = this.kernel;
    if (!s.has(TASK, path)) return undefined;
    try {
      return s.unsigned(address, TASK, path);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  private since(arrival: bigint | undefined, cpu: number | undefined): bigint | undefined {
    const clock = cpu === undefined ? undefined : this.clockOf(cpu);
    if (arrival === undefined || arrival === 0n || clock === undefined) return undefined;
    const passed = clock - arrival;
    return passed >= 0n && passed < LONGEST ? passed : undefined;
  }

  /** The newest of all CPUs' runqueue clocks: that of a CPU without work stands still. */
  private clockOf(cpu: number): bigint | undefined {
    if (!this.clocks.has(cpu)) {
      const clock = this.kernel.structures.find("struct rq", "clock");
      let newest: bigint | undefined;
      for (let each = 0; clock !== undefined && each < Math.min(this.perCpu.possible, 1024); each++) {
        const rq = this.perCpu.address("runqueues", each);
        const bytes = rq && this.kernel.memory.tryRead(addressAdd(rq, clock.offset), 8);
        const value = bytes && getU64(bytes, 0);
        if (value !== undefined && value < LONGEST && (newest === undefined || value > newest)) newest = value;
      }
      this.clocks.set(cpu, newest);
    }
    return this.clocks.get(cpu);
  }
}
