// A stack without its unwinding tables: every word that points behind a CALL of kernel code is a return address, of a frame
// that is there or was there a moment ago. Words are kept too, since waiters lie on stacks.
import { addressAdd, fromKernelOffset, toKernelOffset, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";

/** THREAD_SIZE on x86-64: 8 KiB up to 3.14, 16 KiB since, 32 KiB with KASAN. */
const SIZES: readonly number[] = [8192, 16384, 32768];

/** THREAD_SIZE of this kernel, by the first task's stack, which the linker laid out; 16 KiB where nothing tells. */
export function threadSize(kernel: Kernel): number {
  for (const [start, end] of [
    ["__start_init_stack", "__end_init_stack"],
    ["__start_init_task", "__end_init_task"],
  ]) {
    const from = kernel.find(start);
    const to = kernel.find(end);
    const size = from === undefined || to === undefined ? 0 : Number(to - from);
    if (SIZES.includes(size)) return size;
  }
  const union = kernel.find("init_thread_union");
  const size = union === undefined ? undefined : kernel.symbols.nearest(union)?.size;
  return size !== undefined && SIZES.includes(size) ? size : 16384;
}

export interface StackWords {
  /** address of the first word */
  readonly start: VirtualAddress;
  readonly words: BigUint64Array;
}

/** Kernel text: the core's and the modules', as [start, end) offsets. */
export class TextRanges {
  private readonly ranges: { start: number; end: number }[] = [];

  constructor(kernel: Kernel) {
    const add = (start: bigint | undefined, end: bigint | undefined): void => {
      const from = start === undefined ? undefined : toKernelOffset(start);
      const to = end === undefined ? undefined : toKernelOffset(end);
      if (from !== undefined && to !== undefined && to > from) this.ranges.push({ start: from, end: to });
    };
    add(kernel.find("_text") ?? kernel.find("_stext"), kernel.find("_etext"));
    if (!kernel.initFreed) add(kernel.find("_sinittext"), kernel.find("_einittext"));
    for (const { text, regions, state } of kernel.modules) {
      add(text.base, text.base + BigInt(text.size));
      for (const region of regions) {
        if (state === "coming" && region.kind.startsWith("init")) add(region.base, region.base + BigInt(region.size));
      }
    }
  }

  has(address: bigint): boolean {
    const offset = toKernelOffset(address);
    return offset !== undefined && this.ranges.some(({ start, end }) => offset >= start && offset < end);
  }
}

/**
 * Reads the words from `sp` upwards to the end of the stack, never past what is mapped.
 * @param size bytes that stacks have, see threadSize()
 */
export function readStack(kernel: Kernel, sp: bigint, size: number): StackWords | undefined {
  const start = virtualAddress(sp & ~7n);
  // In the direct map stacks are aligned to their size and followed by other memory; those in vmalloc space, of tasks
  // since 4.9 and of interrupts since 5.2, end at a guard page.
  const linear = (kernel.memory.tryTranslate(start)?.pageSize ?? 0) > 4096;
  const bytes = new Uint8Array(linear ? size - Number(start & BigInt(size - 1)) : size);
  let present = bytes.length;
  kernel.memory.readPresent(start, bytes, (offset) => {
    if (offset < present) present = offset & ~7;
  });
  if (present === 0) return undefined;
  return { start, words: new BigUint64Array(bytes.buffer, 0, present >> 3) };
}

/** True when the bytes before the address are a CALL: what a return address must look like. */
export function followsCall(kernel: Kernel, address: bigint): boolean {
  const offset = toKernelOffset(address);
  if (offset === undefined || offset < 7) return false;
  const bytes = kernel.memory.tryRead(fromKernelOffset(offset - 7), 7);
  if (bytes === undefined) return false;
  if (bytes[2] === 0xe8) return true;
  // call *%reg, call *disp8(%reg), call *disp32(…): ff /2
  const indirect = (at: number, modrmAt: number): boolean => bytes[at] === 0xff && ((bytes[modrmAt] >> 3) & 7) === 2;
  return indirect(5, 6) || indirect(4, 5) || indirect(3, 4) || indirect(1, 2) || indirect(0, 1);
}

export interface ReturnAddress {
  /** where on the stack it lies */
  readonly at: VirtualAddress;
  readonly address: VirtualAddress;
}

/** The first `count` return addresses, nearest frames first. */
export function returnAddresses(kernel: Kernel, text: TextRanges, stack: StackWords, count = 16): ReturnAddress[] {
  const out: ReturnAddress[] = [];
  for (let i = 0; i < stack.words.length && out.length < count; i++) {
    const value = stack.words[i];
    if (!text.has(value) || !followsCall(kernel, value)) continue;
    out.push({ at: addressAdd(stack.start, i * 8), address: virtualAddress(value) });
  }
  return out;
}
