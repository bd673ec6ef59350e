// Where each CPU's own memory lies: its per-CPU area, the stack of the task that it ran, its interrupt and exception stacks.
// Whose stack a register note's rsp is in tells whose note it is.
import { addressAdd, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import type { SymbolTable } from "../../symbols/types.ts";
import { getU32, getU64 } from "../layouts/little-endian.ts";
import type { Structures } from "../layouts/structures.ts";

/** CPU numbers above it are not believed. */
const MAX_CPUS = 8192;
/** THREAD_SIZE: 8 KiB before 3.15, 16 KiB since, up to 64 KiB with KASAN. */
const STACK_SIZES = [8192, 16384, 32768, 65536];
const DEFAULT_STACK = 16384;
/** IRQ_STACK_SIZE, and the largest IST stack (EXCEPTION_STKSZ, arch/x86/include/asm/page_64_types.h). */
const IRQ_STACK = 16384n;
const IST_STACK = 16384n;
/** `struct x86_hw_tss`: {u32; u64 sp0, sp1, sp2; u64; u64 ist[7]}, packed (arch/x86/include/asm/processor.h). */
const IST_OFFSET = 36;
const IST_COUNT = 7;

/** What the places are read with. */
export interface CpuContext {
  readonly memory: VirtualMemory;
  readonly structures: Structures;
  readonly symbols: SymbolTable;
}

interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

export class CpuPlaces {
  /** nr_cpu_ids; 1 where the kernel does not tell (a uniprocessor build). */
  readonly possible: number;
  private readonly offsets = new Map<number, bigint | undefined>();
  private readonly stacks = new Map<number, readonly Range[]>();

  constructor(private readonly context: CpuContext) {
    const at = this.find("nr_cpu_ids");
    const bytes = at === undefined ? undefined : context.memory.tryRead(at, 4);
    const possible = bytes === undefined ? 1 : getU32(bytes, 0);
    this.possible = possible >= 1 && possible <= MAX_CPUS ? possible : 1;
  }

  private find(name: string): VirtualAddress | undefined {
    return this.context.symbols.lookup(name)?.address;
  }

  private u64(address: VirtualAddress | undefined): bigint | undefined {
    const bytes = address === undefined ? undefined : this.context.memory.tryRead(address, 8);
    return bytes && getU64(bytes, 0);
  }

  /** __per_cpu_offset[cpu]; 0 without the table (a uniprocessor build). */
  offset(cpu: number): bigint | undefined {
    if (!this.offsets.has(cpu)) {
      const table = this.find("__per_cpu_offset");
      const known = cpu >= 0 && cpu < this.possible;
      this.offsets.set(cpu, !known ? undefined : table === undefined ? 0n : this.u64(addressAdd(table, cpu * 8)));
    }
    return this.offsets.get(cpu);
  }

  /** Address of a CPU's copy of what `pointer`, a per-CPU pointer or symbol, stands for. */
  copyOf(pointer: bigint, cpu: number): VirtualAddress | undefined {
    const offset = this.offset(cpu);
    return offset === undefined ? undefined : virtualAddress(pointer + offset);
  }

  private ofSymbol(name: string, cpu: number): VirtualAddress | undefined {
    const symbol = this.find(name);
    return symbol === undefined ? undefined : this.copyOf(symbol, cpu);
  }

  /** A member of a per-CPU variable: `current_task` before 6.2 and after 6.14 by itself, between them in `pcpu_hot` (e57ef2ed97c1). */
  private hot(member: string, name: string, cpu: number): bigint | undefined {
    const inside = this.context.structures.find("struct pcpu_hot", member);
    const hot = inside === undefined ? undefined : this.ofSymbol("pcpu_hot", cpu);
    if (hot !== undefined && inside !== undefined) return this.u64(addressAdd(hot, inside.offset));
    return this.u64(this.ofSymbol(name, cpu));
  }

  /** `current` of a CPU: PID and stack; undefined when the dump does not tell. */
  current(cpu: number): { readonly pid: number | undefined; readonly stack: bigint | undefined } | undefined {
    const task = this.hot("current_task", "current_task", cpu);
    if (task === undefined || task < 1n << 63n) return undefined;
    const { structures: s, memory } = this.context;
    const read = (member: string, size: number): Uint8Array | undefined => {
      const at = s.find("struct task_struct", member);
      return at === undefined ? undefined : memory.tryRead(virtualAddress(task + BigInt(at.offset)), size);
    };
    const pid = read("pid", 4);
    const stack = read("stack", 8);
    return { pid: pid && getU32(pid, 0), stack: stack && getU64(stack, 0) };
  }

  /** True when an address lies in memory that only this CPU's kernel stack pointer is in. */
  ownsStack(cpu: number, rsp: bigint): boolean {
    let ranges = this.stacks.get(cpu);
    if (ranges === undefined) {
      ranges = this.stackRanges(cpu);
      this.stacks.set(cpu, ranges);
    }
    return ranges.some(({ start, end }) => rsp > start && rsp <= end);
  }

  private stackRanges(cpu: number): Range[] {
    const ranges: Range[] = [];
    const stack = this.current(cpu)?.stack;
    if (stack !== undefined && stack !== 0n) ranges.push({ start: stack, end: stack + BigInt(this.threadSize()) });
    // Interrupt stacks: mapped since 5.2 (e6401c130931), before that in the per-CPU area.
    const irq =
      this.hot("hardirq_stack_ptr", "hardirq_stack_ptr", cpu) ?? this.u64(this.ofSymbol("irq_stack_ptr", cpu));
    if (irq !== undefined && irq > 1n << 63n) ranges.push({ start: irq - IRQ_STACK, end: irq + 64n });
    // Exception stacks: those that the CPU's own TSS names; in the per-CPU area before 4.15.
    const tss = ["cpu_tss_rw", "cpu_tss", "init_tss"].find((name) => this.find(name) !== undefined);
    const at = tss === undefined ? undefined : this.ofSymbol(tss, cpu);
    for (let i = 0; at !== undefined && i < IST_COUNT; i++) {
      const top = this.u64(addressAdd(at, IST_OFFSET + i * 8));
      if (top !== undefined && top > 1n << 63n) ranges.push({ start: top - IST_STACK, end: top });
    }
    const offset = this.offset(cpu);
    const [from, to] = [this.find("__per_cpu_start"), this.find("__per_cpu_end")];
    if (offset !== undefined && offset !== 0n && from !== undefined && to !== undefined && to > from)
      ranges.push({ start: virtualAddress(from + offset), end: virtualAddress(to + offset) });
    return ranges;
  }

  private threadSize(): number {
    for (const [start, end] of [
      ["__start_init_stack", "__end_init_stack"],
      ["__start_init_task", "__end_init_task"],
    ]) {
      const [from, to] = [this.find(start), this.find(end)];
      const size = from === undefined || to === undefined ? 0 : Number(to - from);
      if (STACK_SIZES.includes(size)) return size;
    }
    const union = this.find("init_thread_union");
    const size = union === undefined ? undefined : this.context.symbols.nearest(union)?.size;
    return size !== undefined && STACK_SIZES.includes(size) ? size : DEFAULT_STACK;
  }
}
