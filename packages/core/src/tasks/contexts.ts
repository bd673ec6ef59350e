// What a CPU was in the middle of, level by level: the registers of the dump, and behind each interrupt the registers that
// it saved (struct pt_regs) on the stack that it interrupted. By the kernel's own tables, or by a scan where it has none.
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { CpuNote } from "../memory/types.ts";
import { backtrace, type Frame } from "./backtrace.ts";
import { followsCall, readStack, type StackWords, type TextRanges } from "./stack-scan.ts";
import { taskStacks } from "./stacks.ts";

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
 * @param limit frames at most, of each level
 */
export function cpuContexts(kernel: Kernel, text: TextRanges, stackSize: number, note: CpuNote, limit = 12): Context[] {
  const stacks = taskStacks(kernel);
  const unwound = stacks.ofCpu(note, limit * MAX_LEVELS);
  if (unwound === undefined) return scannedContexts(kernel, text, stackSize, note, limit);
  if (!text.has(note.registers.rip) && unwound.levels.length === 1 && unwound.levels[0].frames.length < 2) return [];
  return unwound.levels.map(({ rip, sp, registers, rflags, frames }, level) => ({
    rip,
    registers,
    interruptsOff: rflags !== undefined && (rflags & IF) === 0n,
    frames: frames.slice(0, limit),
    stack: readStack(kernel, sp, stackSize),
    level,
  }));
}

/** Without tables: a level begins where code of an interrupt's entry saved registers, never where a function keeps some. */
function scannedContexts(kernel: Kernel, text: TextRanges, stackSize: number, note: CpuNote, limit: number): Context[] {
  const out: Context[] = [];
  const { rip, rsp, rflags, general } = note.registers;
  if (!text.has(rip)) return out;
  let stack = readStack(kernel, rsp, stackSize);
  const add = (at: bigint, flags: bigint, registers: Context["registers"], on: StackWords | undefined): void => {
    out.push({
      rip: virtualAddress(at),
      registers,
      interruptsOff: (flags & IF) === 0n,
      frames: backtrace(kernel, text, at, on, limit),
      stack: on,
      level: out.length,
    });
  };
  add(rip, rflags, general, stack);
  // A kernel thread's stack begins with registers that no interrupt saved.
  const births = ["kernel_thread_helper", "ret_from_fork", "ret_from_fork_asm"].map((name) => kernel.find(name));
  const seen = new Set<bigint>();
  const levels = new Set([`${rip}/${rsp}`]);
  let linked = false;
  for (let hops = 0; stack !== undefined && hops < MAX_LEVELS; hops++) {
    if (seen.has(stack.start)) break;
    seen.add(stack.start);
    const saved = findSaved(kernel, text, stack, linked);
    if (saved !== undefined) {
      if (births.some((address) => address === saved.rip) || levels.has(`${saved.rip}/${saved.rsp}`)) break;
      levels.add(`${saved.rip}/${saved.rsp}`);
      stack = readStack(kernel, saved.rsp, stackSize);
      linked = false;
      add(saved.rip, saved.rflags, saved.registers, stack);
      continue;
    }
    // Nothing saved on this stack: an interrupt stack, whose topmost word leads back to the stack below.
    const link = backLink(stack);
    stack = link === undefined ? undefined : readStack(kernel, link, stackSize);
    linked = true;
  }
  return out;
}

interface Saved {
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly rsp: bigint;
  readonly registers: Record<string, bigint>;
}

/** Words below the hardware's frame among which the call from the entry code is: 15 registers, an error code, a link. */
const ENTRY_WORDS = 20;

/** Code that is run when an interrupt or exception comes: the entry text, or by name where its ends have no symbols. */
function isEntryCode(kernel: Kernel, address: bigint): boolean {
  const start = kernel.find("__entry_text_start");
  const end = kernel.find("__entry_text_end");
  if (start !== undefined && end !== undefined && end > start && address >= start && address <= end) return true;
  const name = kernel.symbols.nearest(virtualAddress(address - 1n))?.symbol.name ?? "";
  return /^(asm_|ret_from_intr|common_interrupt|apic_timer_interrupt|\w+_interrupt\d*$|error_entry|error_sti|error_exit|paranoid_|nmi$|nmi_|page_fault|general_protection|double_fault|int3$|debug$|xen_\w*callback|irq_entries_start|retint_|async_page_fault|divide_error|invalid_op)/.test(
    name,
  );
}

/**
 * The first struct pt_regs that entry code saved in kernel mode: rip, cs, rflags, rsp, ss in a row, and the call from
 * the entry code right below. A copy among a function's locals (crash_kexec() has one) is none.
 * @param linked the stack was reached from an interrupt stack's link, which entry code wrote
 */
function findSaved(kernel: Kernel, text: TextRanges, { words }: StackWords, linked: boolean): Saved | undefined {
  for (let i = 0; i + 4 < words.length; i++) {
    if (words[i + 1] !== KERNEL_CS || (words[i + 4] !== KERNEL_SS && words[i + 4] !== 0n) || !text.has(words[i]))
      continue;
    const below = Array.from(words.subarray(Math.max(0, i - ENTRY_WORDS), i));
    const entered = below.some((word) => text.has(word) && isEntryCode(kernel, word) && followsCall(kernel, word));
    if (!entered && !(linked && i <= ENTRY_WORDS)) continue;
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
