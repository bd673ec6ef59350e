// What a CPU was in the middle of, level by level: the registers of the dump, and behind each interrupt the registers that
// it saved (struct pt_regs) on the stack that it interrupted.
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { CpuNote } from "../memory/types.ts";
import { backtrace, type Frame } from "./backtrace.ts";
import { readStack, type StackWords, type TextRanges } from "./stack-scan.ts";

export interface Context {
  readonly rip: VirtualAddress;
  /** By name: rax … r15. What an old kernel's interrupt entry did not save is missing. */
  readonly registers: Readonly<Record<string, bigint>>;
  readonly interruptsOff: boolean;
  readonly frames: readonly Frame[];
  readonly stack: StackWords | undefined;
  /** 0: what the CPU was executing; 1: what that interrupted … */
  readonly level: number;
}

/** Order of struct pt_regs before orig_ax (arch/x86/include/asm/ptrace.h). */
const PT_REGS = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"];
const KERNEL_CS = 0x10n;
const KERNEL_SS = 0x18n;
const IF = 1n << 9n;
/** A CPU is at most in a task, a softirq, an interrupt and an NMI, and each may have switched stacks. */
const MAX_LEVELS = 6;

/**
 * All levels of one CPU, innermost first; none when it was in user mode.
 * @param frames at most, of each level
 */
export function cpuContexts(
  kernel: Kernel,
  text: TextRanges,
  stackSize: number,
  note: CpuNote,
  frames?: number,
): Context[] {
  const out: Context[] = [];
  const { rip, rsp, rflags, general } = note.registers;
  if (!text.has(rip)) return out;
  let stack = readStack(kernel, rsp, stackSize);
  const add = (at: bigint, flags: bigint, registers: Context["registers"], on: StackWords | undefined): void => {
    out.push({
      rip: virtualAddress(at),
      registers,
      interruptsOff: (flags & IF) === 0n,
      frames: backtrace(kernel, text, at, on, frames),
      stack: on,
      level: out.length,
    });
  };
  add(rip, rflags, general, stack);
  // A kernel thread's stack begins with registers that no interrupt saved.
  const births = ["kernel_thread_helper", "ret_from_fork", "ret_from_fork_asm"].map((name) => kernel.find(name));
  const seen = new Set<bigint>();
  for (let hops = 0; stack !== undefined && hops < MAX_LEVELS; hops++) {
    if (seen.has(stack.start)) break;
    seen.add(stack.start);
    const saved = findSaved(text, stack);
    if (saved !== undefined) {
      if (births.some((address) => address === saved.rip)) break;
      stack = readStack(kernel, saved.rsp, stackSize);
      add(saved.rip, saved.rflags, saved.registers, stack);
      continue;
    }
    // Nothing saved on this stack: an interrupt stack, whose topmost word leads back to the stack below.
    const link = backLink(stack);
    stack = link === undefined ? undefined : readStack(kernel, link, stackSize);
  }
  return out;
}

interface Saved {
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly rsp: bigint;
  readonly registers: Record<string, bigint>;
}

/** The first struct pt_regs of an interrupt from kernel mode: rip, cs, rflags, rsp, ss in a row. */
function findSaved(text: TextRanges, { words }: StackWords): Saved | undefined {
  for (let i = 0; i + 4 < words.length; i++) {
    if (words[i + 1] !== KERNEL_CS || (words[i + 4] !== KERNEL_SS && words[i + 4] !== 0n) || !text.has(words[i]))
      continue;
    const rflags = words[i + 2];
    const rsp = words[i + 3];
    // Bit 1 of RFLAGS is always set, the upper half never.
    if ((rflags & 2n) === 0n || rflags >> 32n !== 0n || rsp < 0xff00000000000000n || (rsp & 7n) !== 0n) continue;
    const registers: Record<string, bigint> = {};
    PT_REGS.forEach((name, k) => {
      const at = i - 1 - PT_REGS.length + k;
      if (at >= 0) registers[name] = words[at];
    });
    return { rip: words[i], rflags, rsp, registers };
  }
  return undefined;
}

/** Words at the top of an interrupt stack among which the saved stack pointer is (64 bytes are left free up to 4.18). */
const TOP_WORDS = 10;

function backLink({ start, words }: StackWords): bigint | undefined {
  const end = start + BigInt(words.length * 8);
  for (let i = words.length - 1; i >= Math.max(0, words.length - TOP_WORDS); i--) {
    const word = words[i];
    const elsewhere = word < start || word >= end;
    if (elsewhere && word >= 0xff00000000000000n && word < 0xffffffff80000000n && (word & 7n) === 0n) return word;
  }
  return undefined;
}
