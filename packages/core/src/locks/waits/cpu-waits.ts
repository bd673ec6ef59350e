// CPUs that wait for a spinlock or rwlock: which function of a lock they are in, and which lock it is, by the registers that
// hold the function's argument there, else by what points to a lock word that names this CPU.
import {
  formatAddress,
  type KernelOffset,
  toKernelOffset,
  type VirtualAddress,
  virtualAddress,
} from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Frame } from "../../tasks/backtrace.ts";
import { type Context, cpuContexts } from "../../tasks/contexts.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { TextRanges, threadSize } from "../../tasks/stack-scan.ts";
import { currentTask, type Task } from "../../tasks/tasks.ts";
import { functionBytes } from "../code/function-bytes.ts";
import type { Implementations } from "../code/implementation.ts";
import { argumentRegisters, callOperands } from "../code/operands.ts";
import type { LockFamily } from "../types.ts";
import type { SpinlockWords } from "../words/spinlock-word.ts";
import { isOutstanding, type TicketWord } from "../words/ticket.ts";
import type { SpinQueues } from "./queue.ts";

export interface CpuWait {
  readonly cpu: number;
  readonly task: Task | undefined;
  /** 0: what the CPU executes; more: what an interrupt interrupted */
  readonly level: number;
  readonly kind: "spinlock" | "read" | "write";
  readonly family: LockFamily;
  /** undefined when nothing tells which lock it is */
  readonly lock: VirtualAddress | undefined;
  /** What told the lock: "rdi", "the call in foo+0x12", "its MCS node". */
  readonly evidence: string;
  /** The ticket that it waits with. */
  readonly ticket: number | undefined;
  readonly interruptsOff: boolean;
  /** Sleeps until a kick instead of spinning. */
  readonly asleep: boolean;
  readonly frames: readonly Frame[];
}

interface WaitFunction {
  readonly kind: CpuWait["kind"];
  readonly family: LockFamily;
}

/** Frames from the innermost in which a lock function is looked for: wait, slow path, lock function. */
const DEPTH = 4;
const CALLEE_SAVED = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
const GENERAL = ["rdi", ...CALLEE_SAVED, "rsi", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11"];
/** Words of the stack that are tried as a lock's address. */
const STACK_WORDS = 48;

const bareName = (symbol: string): string =>
  symbol
    .replace(/ \[.*$/, "")
    .replace(/\+0x[0-9a-f]+$/, "")
    .replace(/\.(part|constprop|isra|cold).*$/, "");

export class CpuWaits {
  private readonly text: TextRanges;
  private readonly stackSize: number;

  /** @param takers functions that slots or sites use to take spinlocks, beyond those known by name */
  constructor(
    private readonly kernel: Kernel,
    private readonly words: SpinlockWords,
    private readonly implementations: Implementations,
    private readonly queues: SpinQueues,
    private readonly perCpu: PerCpu,
    private readonly takers: ReadonlySet<KernelOffset>,
  ) {
    this.text = new TextRanges(kernel);
    this.stackSize = threadSize(kernel);
  }

  /** All waits of all CPUs whose registers the dump has. */
  all(): CpuWait[] {
    const out: CpuWait[] = [];
    for (const note of this.kernel.dump.cpus) {
      const contexts = cpuContexts(this.kernel, this.text, this.stackSize, note);
      let task: Task | undefined;
      for (const context of contexts) {
        const wait = this.waitOf(context, note.index);
        if (wait === undefined) continue;
        task ??= currentTask(this.kernel, this.perCpu, note.index);
        out.push({ ...wait, task });
      }
    }
    return out;
  }

  private waitOf(context: Context, cpu: number): Omit<CpuWait, "task"> | undefined {
    const { frames } = context;
    let found: WaitFunction | undefined;
    let at = -1;
    for (let i = 0; i < Math.min(DEPTH, frames.length); i++) {
      // Between a sleeping function and the lock function lies an indirect call at most.
      if (i > 0 && !frames[i].checked && !(i === 1 && this.sleeps(frames[0]))) break;
      const each = this.waitFunction(frames[i], i === 0);
      if (each === undefined) {
        if (found !== undefined) break;
        continue;
      }
      if (found === undefined) at = i;
      found = each;
      if (each.kind !== "spinlock") break;
    }
    if (found === undefined) return undefined;
    const outer =
      found.kind !== "spinlock" &&
      bareName(frames[at].symbol) !== undefined &&
      this.waitFunction(frames[at], at === 0)?.kind === "spinlock";
    const inner = outer ? (this.waitFunction(frames[at], at === 0) ?? found) : found;
    const place = this.lockOf(context, at, inner, cpu);
    // Those that cannot take a qrwlock at once queue on its wait_lock, 4 bytes behind.
    const lock = outer && place.lock !== undefined ? virtualAddress(place.lock - 4n) : place.lock;
    return {
      cpu,
      level: context.level,
      kind: found.kind,
      family: inner.family,
      lock,
      evidence: place.evidence,
      ticket: place.ticket,
      interruptsOff: context.interruptsOff,
      asleep: at > 0 && this.sleeps(frames[0]),
      frames,
    };
  }

  /** A function that puts a waiter to sleep: a wait slot's, or one of theirs. */
  private sleeps(frame: Frame): boolean {
    return (
      /^(kvm_wait|xen_qlock_wait|xen_poll_irq|hv_qlock_wait|pv_wait|native_safe_halt|native_halt)/.test(
        bareName(frame.symbol),
      ) ||
      frame.symbol.includes("sleep") ||
      frame.symbol.includes("wait")
    );
  }

  private waitFunction(frame: Frame, innermost: boolean): WaitFunction | undefined {
    const name = bareName(frame.symbol);
    if (/^queued_read_lock_slowpath$|^__read_lock_failed$/.test(name)) return { kind: "read", family: "queued" };
    if (/^queued_write_lock_slowpath$|^__write_lock_failed$/.test(name)) return { kind: "write", family: "queued" };
    if (/^_*ticket_spin_lock$/.test(name)) return { kind: "spinlock", family: "ticket" };
    if (/^(native_)?queued_spin_lock_slowpath$/.test(name)) return { kind: "spinlock", family: "queued" };
    if (/^__pv_queued_spin_lock_slowpath$/.test(name)) return { kind: "spinlock", family: "pv-queued" };
    if (/^xen_spin_lock(_slow|_flags)?$/.test(name)) return { kind: "spinlock", family: "byte" };
    // Ticket locks of 3.12 and newer are inlined into the out-of-line functions.
    if (innermost && /^_raw_spin_lock(_bh|_irq|_irqsave)?$/.test(name) && this.words.family === "ticket") {
      return { kind: "spinlock", family: "ticket" };
    }
    const offset = toKernelOffset(frame.start);
    if (offset === undefined || !this.takers.has(offset)) return undefined;
    return { kind: "spinlock", family: this.implementations.of(offset, "lock").family };
  }

  private lockOf(
    context: Context,
    at: number,
    wait: WaitFunction,
    cpu: number,
  ): { lock: VirtualAddress | undefined; evidence: string; ticket: number | undefined } {
    const tried = new Map<bigint, string>();
    const add = (value: bigint | undefined, evidence: string): void => {
      if (value !== undefined && this.plausible(value) && !tried.has(value)) tried.set(value, evidence);
    };
    // The register that holds the argument of the function in which the CPU stands is certain.
    const exact = at === 0 ? this.heldArgument(context, context.frames[0]) : undefined;
    if (exact !== undefined) add(exact.value, exact.register);
    for (let i = at + 1; i <= at + 2 && i < context.frames.length; i++) {
      if (!context.frames[i].checked) break;
      const operand = this.operandOf(context.frames[i]);
      if (operand !== undefined) {
        add(operand, `the call in ${context.frames[i].symbol}`);
        break;
      }
    }
    for (const name of GENERAL) add(context.registers[name], name);
    for (let i = 0; i < Math.min(STACK_WORDS, context.stack?.words.length ?? 0); i++) {
      add(context.stack?.words[i], "its stack");
    }
    for (const [value, evidence] of tried) {
      const told = this.fits(virtualAddress(value), wait, cpu, context);
      if (told === undefined) continue;
      return {
        lock: virtualAddress(value),
        evidence: told.by === undefined ? evidence : `${evidence}, ${told.by}`,
        ticket: told.ticket,
      };
    }
    const first = exact ?? undefined;
    if (first !== undefined && this.plausible(first.value)) {
      return { lock: virtualAddress(first.value), evidence: first.register, ticket: undefined };
    }
    const [operand] = [...tried].filter(([, evidence]) => evidence.startsWith("the call"));
    return operand === undefined
      ? { lock: undefined, evidence: "nothing tells the lock", ticket: undefined }
      : { lock: virtualAddress(operand[0]), evidence: operand[1], ticket: undefined };
  }

  private plausible(value: bigint): boolean {
    return value >= 0xff00000000000000n && (value & 1n) === 0n && !this.text.has(value);
  }

  private functionBytes(start: VirtualAddress): Uint8Array | undefined {
    const size = this.kernel.allSymbols.nearest(start)?.size ?? 0;
    return functionBytes(this.kernel, start, Math.min(size, 8192));
  }

  private heldArgument(context: Context, frame: Frame): { value: bigint; register: string } | undefined {
    const bytes = this.functionBytes(frame.start);
    if (bytes === undefined) return undefined;
    const [register] = argumentRegisters(bytes, frame.start, frame.address);
    const value = register === undefined ? undefined : context.registers[register];
    return value === undefined ? undefined : { value, register };
  }

  /** The constant that the call before a return address handed over. */
  private operandOf(frame: Frame): bigint | undefined {
    const bytes = this.functionBytes(frame.start);
    if (bytes === undefined) return undefined;
    return callOperands(bytes, frame.start).find(({ at }) => at === frame.address - 5n || at === frame.address - 7n)
      ?.rdi;
  }

  /** Whether the word at `lock` says that this CPU waits for it. */
  private fits(
    lock: VirtualAddress,
    wait: WaitFunction,
    cpu: number,
    context: Context,
  ): { by?: string; ticket?: number } | undefined {
    const bytes = this.kernel.memory.tryRead(lock, 4);
    if (bytes === undefined) return undefined;
    if (wait.kind !== "spinlock") return undefined;
    switch (wait.family) {
      case "ticket": {
        const word = this.words.decode(lock, "ticket") as TicketWord;
        if (word.outstanding < 1 || word.state === "impossible") return undefined;
        const ticket = this.ticketIn(context.registers, word);
        return ticket === undefined ? undefined : { ticket };
      }
      case "queued":
      case "pv-queued": {
        const tail = bytes[2] | (bytes[3] << 8);
        for (const node of this.queues.nodes) {
          if (node.cpu === cpu && tail !== 0 && this.queues.tailOf(node) === tail) {
            return { by: `MCS node ${node.index} of CPU ${cpu} at ${formatAddress(node.address)} is in its queue` };
          }
        }
        const queued = this.queues.nodes.some((node) => node.cpu === cpu);
        return !queued && bytes[1] === 1 && bytes[0] !== 0 ? { by: "its pending bit is set" } : undefined;
      }
      default:
        return undefined;
    }
  }

  /** The ticket that lock xadd left in a register: in %ah, or the upper half of %eax, moved about by the compiler. */
  private ticketIn(registers: Context["registers"], word: TicketWord): number | undefined {
    const layout = this.words.ticketLayout;
    for (const name of ["rax", "rdx", "rcx", "rsi"]) {
      const value = Number((registers[name] ?? 0n) & 0xffffffffn);
      const parts = layout.half === 1 ? [(value >> 8) & 0xff, value & 0xff] : [value >>> 16, value & 0xffff];
      for (const part of parts) {
        if (part !== word.head && isOutstanding(word, layout, part)) return part;
      }
    }
    return undefined;
  }
}
