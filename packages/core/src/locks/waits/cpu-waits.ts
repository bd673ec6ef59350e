// CPUs that wait for a spinlock or rwlock: which function of a lock they are in, and which lock it is. The register that holds
// the function's argument where the CPU stands is certain, whatever the lock's word holds; so is the constant that the caller
// handed over, and a word whose queue leads to this CPU's own node. What another register or the stack holds is a guess.
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Frame } from "../../tasks/backtrace.ts";
import { type Context, cpuContexts } from "../../tasks/contexts.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { TextRanges, threadSize } from "../../tasks/stack-scan.ts";
import { currentTask, type Task } from "../../tasks/tasks.ts";
import { functionBytes } from "../code/function-bytes.ts";
import { argumentRegisters, type CallOperand, callOperands } from "../code/operands.ts";
import { decodeQspinlock } from "../words/qspinlock.ts";
import type { SpinlockWords } from "../words/spinlock-word.ts";
import { isOutstanding, type TicketWord } from "../words/ticket.ts";
import type { SpinQueues } from "./queue.ts";
import type { CpuWait, WaitEvidence } from "./wait.ts";
import type { WaitFunction, WaitFunctions } from "./wait-functions.ts";

/** Frames from the innermost in which a lock function is looked for: wait, slow path, lock function. */
const DEPTH = 4;
const CALLEE_SAVED = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
const GENERAL = ["rdi", ...CALLEE_SAVED, "rsi", "rax", "rcx", "rdx", "r8", "r9", "r10", "r11"];
/** Words of the stack that are tried as a lock's address. */
const STACK_WORDS = 48;
/** struct qrwlock {cnts; wait_lock} (include/asm-generic/qrwlock_types.h, since 3.16) */
const WAIT_LOCK = 4;

interface Told {
  readonly lock: VirtualAddress | undefined;
  readonly evidence: WaitEvidence;
  readonly ticket?: number;
}

export class CpuWaits {
  private readonly text: TextRanges;
  private readonly stackSize: number;

  constructor(
    private readonly kernel: Kernel,
    private readonly words: SpinlockWords,
    private readonly functions: WaitFunctions,
    private readonly queues: SpinQueues,
    private readonly perCpu: PerCpu,
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

  /** The wait that one level of a CPU is in, without its task; undefined when it is in no lock function. */
  waitOf(context: Context, cpu: number): Omit<CpuWait, "task"> | undefined {
    const { frames } = context;
    const { functions } = this;
    let inner: WaitFunction | undefined;
    let found: WaitFunction | undefined;
    let at = -1;
    for (let i = 0; i < Math.min(DEPTH, frames.length); i++) {
      // Between a sleeping function and the lock function lies an indirect call at most.
      if (i > 0 && !frames[i].checked && !(i === 1 && functions.sleeps(frames[0]))) break;
      const each = functions.of(frames[i], i === 0);
      if (each === undefined) {
        if (found !== undefined) break;
        continue;
      }
      if (inner === undefined) {
        inner = each;
        at = i;
      }
      found = each;
      if (each.kind !== "spinlock") break;
    }
    if (found === undefined || inner === undefined) return undefined;
    const told = this.lockOf(context, at, inner, cpu);
    // Those that cannot take a qrwlock at once queue on the spinlock inside of it.
    const queued = found.kind !== "spinlock" && inner.kind === "spinlock";
    const inside = this.kernel.structures.find("struct qrwlock", "wait_lock")?.offset ?? WAIT_LOCK;
    return {
      who: "cpu",
      cpu,
      level: context.level,
      kind: found.kind === "spinlock" ? "raw-spinlock" : "rwlock",
      mode: found.kind === "spinlock" ? undefined : found.kind,
      family: inner.family,
      lock: queued && told.lock !== undefined ? virtualAddress(told.lock - BigInt(inside)) : told.lock,
      evidence: told.evidence,
      ticket: told.ticket,
      interruptsOff: context.interruptsOff,
      asleep: at > 0 && functions.sleeps(frames[0]),
      frames,
    };
  }

  private lockOf(context: Context, at: number, wait: WaitFunction, cpu: number): Told {
    const held = at === 0 ? this.heldArgument(context, context.frames[0]) : undefined;
    if (held !== undefined) {
      const lock = virtualAddress(held.value);
      return {
        lock,
        evidence: { by: "register", register: held.register },
        ticket: this.ticketFor(lock, wait, context),
      };
    }
    const handed = this.handedOver(context.frames, at);
    if (handed !== undefined) {
      const { lock } = handed;
      return {
        lock,
        evidence: { by: "frame", caller: handed.caller.place },
        ticket: this.ticketFor(lock, wait, context),
      };
    }
    return this.searched(context, wait, cpu);
  }

  /** The argument of the function in which the CPU stands, where a register still has it. */
  private heldArgument(context: Context, frame: Frame): { value: bigint; register: string } | undefined {
    const bytes = this.functionBytes(frame.start);
    if (bytes === undefined) return undefined;
    for (const register of argumentRegisters(bytes, frame.start, frame.address)) {
      const value = context.registers[register];
      if (value !== undefined && this.plausible(value)) return { value, register };
    }
    return undefined;
  }

  /** A constant that a caller handed over, through functions that hand on their own argument, or a member of it. */
  private handedOver(frames: readonly Frame[], at: number): { lock: VirtualAddress; caller: Frame } | undefined {
    let member = 0;
    for (let i = at + 1; i < frames.length && frames[i].checked; i++) {
      const operand = this.operandOf(frames[i]);
      if (operand?.fromArgument !== undefined) member += operand.fromArgument;
      else {
        const value = operand?.rdi === undefined ? undefined : operand.rdi + BigInt(member);
        return value === undefined || !this.plausible(value)
          ? undefined
          : { lock: virtualAddress(value), caller: frames[i] };
      }
    }
    return undefined;
  }

  /** Registers and words of the stack that lead to a word which says that this CPU waits: its queue's proof before any guess. */
  private searched(context: Context, wait: WaitFunction, cpu: number): Told {
    const tried = new Map<bigint, string>();
    const add = (value: bigint | undefined, from: string): void => {
      if (value !== undefined && this.plausible(value) && !tried.has(value)) tried.set(value, from);
    };
    for (const name of GENERAL) add(context.registers[name], name);
    for (const word of context.stack?.words.subarray(0, STACK_WORDS) ?? []) add(word, "its stack");
    let guess: Told | undefined;
    for (const [value, from] of tried) {
      const lock = virtualAddress(value);
      const node = this.nodeIn(lock, wait, cpu);
      if (node !== undefined) return { lock, evidence: { by: "queue", from, node } };
      if (guess !== undefined) continue;
      const ticket = this.ticketFor(lock, wait, context);
      if (ticket !== undefined) guess = { lock, evidence: { by: "guess", from, fits: "ticket" }, ticket };
      else if (this.isPending(lock, wait, cpu)) guess = { lock, evidence: { by: "guess", from, fits: "pending" } };
    }
    return guess ?? { lock: undefined, evidence: { by: "nothing" } };
  }

  private plausible(value: bigint): boolean {
    return value >= 0xff00000000000000n && (value & 1n) === 0n && !this.text.has(value);
  }

  private functionBytes(start: VirtualAddress): Uint8Array | undefined {
    const size = this.kernel.allSymbols.nearest(start)?.size ?? 0;
    return functionBytes(this.kernel, start, Math.min(size, 8192));
  }

  /** What the call before a return address handed over. */
  private operandOf(frame: Frame): CallOperand | undefined {
    const bytes = this.functionBytes(frame.start);
    if (bytes === undefined) return undefined;
    return callOperands(bytes, frame.start).find(({ at }) => at === frame.address - 5n || at === frame.address - 7n);
  }

  /** This CPU's MCS node in the queue that the word's tail names. */
  private nodeIn(lock: VirtualAddress, wait: WaitFunction, cpu: number): SpinQueues["nodes"][number] | undefined {
    const tail = this.queuedWord(lock, wait)?.tail ?? 0;
    if (tail === 0) return undefined;
    return this.queues.nodes.find((node) => node.cpu === cpu && this.queues.tailOf(node) === tail);
  }

  private isPending(lock: VirtualAddress, wait: WaitFunction, cpu: number): boolean {
    const word = this.queuedWord(lock, wait);
    // A CPU whose node is in use waits in a queue, not with the pending bit.
    if (word === undefined || this.queues.nodes.some((node) => node.cpu === cpu)) return false;
    return word.pending === 1 && word.locked !== 0 && word.state !== "impossible";
  }

  private queuedWord(lock: VirtualAddress, { kind, family }: WaitFunction) {
    if (kind !== "spinlock" || (family !== "queued" && family !== "pv-queued")) return undefined;
    const bytes = this.kernel.memory.tryRead(lock, 4);
    return bytes && decodeQspinlock(bytes, this.words.cpus);
  }

  /** The ticket that this CPU waits with, where the word has it out; undefined for all but ticket locks. */
  private ticketFor(lock: VirtualAddress, wait: WaitFunction, context: Context): number | undefined {
    if (wait.kind !== "spinlock" || wait.family !== "ticket") return undefined;
    if (this.kernel.memory.tryRead(lock, this.words.ticketLayout.size ?? 4) === undefined) return undefined;
    const word = this.words.decode(lock, "ticket") as TicketWord;
    return word.outstanding < 1 || word.state === "impossible" ? undefined : this.ticketIn(context.registers, word);
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
