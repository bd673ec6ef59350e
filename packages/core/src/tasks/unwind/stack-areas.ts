// Which stack an address lies on: a task's own, or one of those that a CPU keeps for interrupts, NMIs and exceptions.
// Names are those that drgn and the kernel's own traces use.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import type { PerCpu } from "../per-cpu.ts";

export interface StackArea {
  /** TASK, IRQ, NMI, EXCEPTION (#DB, #MC, #VC), DOUBLE_FAULT, OTHER */
  readonly name: string;
  readonly start: bigint;
  readonly end: bigint;
}

/** IRQ_STACK_SIZE: 16 KiB in every release of x86-64 (32 KiB with KASAN, which is the stack size then too). */
const IRQ_STACK_SIZE = 16384n;
/** Sizes that the exception stacks of cpu_entry_area may have. */
const MAX_EXCEPTION_STACK = 65536;
const EXCEPTIONS = "struct cea_exception_stacks";

export class StackAreas {
  private readonly perCpuAreas = new Map<number, readonly StackArea[]>();

  constructor(
    private readonly kernel: Kernel,
    private readonly perCpu: PerCpu,
    private readonly stackSize: number,
  ) {}

  task(stack: VirtualAddress): StackArea {
    return { name: "TASK", start: stack, end: stack + BigInt(this.stackSize) };
  }

  /** Stacks of a CPU beside its tasks'. */
  ofCpu(cpu: number): readonly StackArea[] {
    let areas = this.perCpuAreas.get(cpu);
    if (areas === undefined) {
      areas = [...this.interrupt(cpu), ...this.exceptions(cpu)];
      this.perCpuAreas.set(cpu, areas);
    }
    return areas;
  }

  private pointer(symbol: string, cpu: number, plus = 0): bigint | undefined {
    const at = this.perCpu.address(symbol, cpu);
    const bytes = at && this.kernel.memory.tryRead(addressAdd(at, plus), 8);
    return bytes && getU64(bytes, 0);
  }

  private interrupt(cpu: number): StackArea[] {
    // pcpu_hot: 6.2 to 6.14; hardirq_stack_ptr: 5.8; irq_stack_ptr before
    const hot = this.kernel.structures.find("struct pcpu_hot", "hardirq_stack_ptr");
    const top =
      (hot && this.pointer("pcpu_hot", cpu, hot.offset)) ??
      this.pointer("hardirq_stack_ptr", cpu) ??
      this.pointer("irq_stack_ptr", cpu);
    if (top === undefined || top < 0xff00000000000000n) return [];
    // It may point below its top word, and up to 4.18 64 bytes were left free.
    const end = (top + 127n) & ~127n;
    return [{ name: "IRQ", start: end - IRQ_STACK_SIZE, end }];
  }

  private exceptions(cpu: number): StackArea[] {
    const base = this.pointer("cea_exception_stacks", cpu);
    const members = base === undefined ? undefined : this.kernel.types.members(EXCEPTIONS);
    if (base === undefined || members === undefined || base < 0xff00000000000000n) return [];
    return members
      .filter(({ name, size }) => name.endsWith("_stack") && size > 0 && size <= MAX_EXCEPTION_STACK)
      .map(({ name, offset, size }) => ({
        name: name === "NMI_stack" ? "NMI" : name === "DF_stack" ? "DOUBLE_FAULT" : "EXCEPTION",
        start: base + BigInt(offset),
        end: base + BigInt(offset + size),
      }));
  }
}
