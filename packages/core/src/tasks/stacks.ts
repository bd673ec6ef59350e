// The stack of any task and any CPU of a dump, by the kernel's own tables where it has them. One object a dump, since the
// parts (tables, areas, code ranges) are shared by all stacks.

import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { kept } from "../kernel/kept.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { CpuNote } from "../memory/types.ts";
import { backtrace, type Frame } from "./backtrace.ts";
import { PerCpu } from "./per-cpu.ts";
import { followsCall, readStack, TextRanges, threadSize } from "./stack-scan.ts";
import { currentTask, type Task } from "./tasks.ts";
import { orcTables } from "./unwind/orc-tables.ts";
import { ReplacedReturns } from "./unwind/returns.ts";
import { StackAreas } from "./unwind/stack-areas.ts";
import { inactiveStart, Unwinder, type Unwound } from "./unwind/unwinder.ts";

/** Frames of one stack: the deepest of a healthy kernel have 60 or so. */
const MAX_FRAMES = 256;
const NO_TABLES = "this kernel has no ORC tables: found by scanning";

export class TaskStacks {
  readonly text: TextRanges;
  readonly stackSize: number;
  readonly perCpu: PerCpu;
  private readonly areas: StackAreas;
  private readonly unwinder: Unwinder;

  constructor(private readonly kernel: Kernel) {
    this.text = new TextRanges(kernel);
    this.stackSize = threadSize(kernel);
    this.perCpu = new PerCpu(kernel);
    this.areas = new StackAreas(kernel, this.perCpu, this.stackSize);
    const tables = orcTables(kernel);
    this.unwinder = new Unwinder(kernel, this.text, tables, new ReplacedReturns(kernel), this.stackSize);
  }

  /** How stacks of this kernel are unwound. */
  get byTables(): boolean {
    return this.unwinder.usable;
  }

  /**
   * What a CPU was in the middle of, from the registers of the dump; undefined where the kernel has no tables.
   * @param limit frames at most, of all levels together
   */
  ofCpu(note: CpuNote, limit = MAX_FRAMES): Unwound | undefined {
    if (!this.unwinder.usable) return undefined;
    const { rip, rsp, rflags, general } = note.registers;
    const task = currentTask(this.kernel, this.perCpu, note.index);
    const areas = [
      ...(task?.stack === undefined ? [] : [this.areas.task(task.stack)]),
      ...this.areas.ofCpu(note.index),
    ];
    if (rip < 1n << 63n) return { levels: [], end: "user" };
    return this.unwinder.unwind({
      rip,
      rsp,
      registers: general,
      rflags,
      exact: true,
      task: task?.address,
      areas,
      limit,
    });
  }

  /** `current` of a CPU. */
  currentOf(cpu: number): Task | undefined {
    return currentTask(this.kernel, this.perCpu, cpu);
  }

  /** The same where the kernel has no tables. */
  scannedCpu({ registers }: CpuNote, limit = MAX_FRAMES): Unwound {
    const { rip, rsp, rflags, general } = registers;
    if (rip < 1n << 63n) return { levels: [], end: "user" };
    const stack = readStack(this.kernel, rsp, this.stackSize);
    const frames = backtrace(this.kernel, this.text, rip, stack, limit);
    const level = { rip: virtualAddress(rip), sp: rsp, registers: general, rflags, frames };
    return { levels: [level], end: "stopped", why: NO_TABLES };
  }

  /** The stack of a task that is on no CPU, from where it was switched out. */
  ofSleeping(task: Task, limit = MAX_FRAMES): Unwound {
    const stopped = (why: string): Unwound => ({ levels: [], end: "stopped", why });
    const { sp, stack } = task;
    if (sp === undefined || sp === 0n) return stopped("the stack pointer with which it was switched out is not known");
    if (stack === undefined || sp < stack || sp >= stack + BigInt(this.stackSize)) {
      return stopped(stack === 0n ? "it has no stack any more" : "its saved stack pointer does not lie on its stack");
    }
    const from = this.unwinder.usable ? inactiveStart(this.kernel, sp) : undefined;
    if (from === undefined || !this.text.has(from.rip)) return this.scanned(sp, limit);
    return this.unwinder.unwind({
      ...from,
      rflags: undefined,
      task: task.address,
      areas: [this.areas.task(stack)],
      limit,
    });
  }

  private scanned(sp: VirtualAddress, limit: number): Unwound {
    const stack = readStack(this.kernel, sp, this.stackSize);
    const why = stack === undefined ? "its stack is not in the dump" : NO_TABLES;
    const first = stack?.words.findIndex((word) => this.text.has(word) && followsCall(this.kernel, word)) ?? -1;
    if (stack === undefined || first < 0) return { levels: [], end: "stopped", why };
    const rest = { start: stack.start, words: stack.words.subarray(first + 1) };
    const frames: Frame[] = backtrace(this.kernel, this.text, stack.words[first], rest, limit);
    if (frames.length > 0) frames[0] = { ...frames[0], how: "scan", checked: false };
    const [{ address: rip } = { address: sp }] = frames;
    return { levels: [{ rip, sp, registers: {}, rflags: undefined, frames }], end: "stopped", why };
  }
}

const makeStacks = (kernel: Kernel): TaskStacks => new TaskStacks(kernel);

/** The stacks of a dump, their parts made once. */
export function taskStacks(kernel: Kernel): TaskStacks {
  return kept(kernel, makeStacks);
}
