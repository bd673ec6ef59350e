// Unwinds a kernel stack by the ORC tables of the dump, level by level: what was executed, and behind each interrupt or
// exception the registers that its entry code saved. Where a table ends, frame pointers and the checked scan go on, and each
// frame says how it was found (arch/x86/kernel/unwind_orc.c, 4.14).
import { addressAdd, formatAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { ftraceRecords } from "../../kernel/records/ftrace-records.ts";
import { type Place, placeText } from "../../symbols/place.ts";
import { backtrace, callerOf, type Frame, type FrameSource, functionOf } from "../backtrace.ts";
import { followsCall, readStack, type TextRanges } from "../stack-scan.ts";
import type { OrcEntry } from "./orc-entry.ts";
import { type OrcTables, stackAdd } from "./orc-tables.ts";
import type { ReplacedReturns } from "./returns.ts";
import type { StackArea } from "./stack-areas.ts";

export interface UnwoundLevel {
  readonly rip: VirtualAddress;
  readonly sp: bigint;
  /** By name: rax … r15; what was not saved is missing. */
  readonly registers: Readonly<Record<string, bigint>>;
  /** undefined for a task that was switched out */
  readonly rflags: bigint | undefined;
  readonly frames: readonly Frame[];
}

export interface Unwound {
  /** innermost first */
  readonly levels: readonly UnwoundLevel[];
  /** "end": the stack's true end; "user": entered from user mode; "stopped": `why` tells */
  readonly end: "end" | "user" | "stopped";
  readonly why?: string;
}

export interface StartPoint {
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly registers: Readonly<Record<string, bigint>>;
  readonly rflags: bigint | undefined;
  /** rip is where execution stands, not a return address */
  readonly exact: boolean;
  readonly task: VirtualAddress | undefined;
  readonly areas: readonly StackArea[];
  /** frames at most of all levels */
  readonly limit: number;
}

/** struct pt_regs (arch/x86/include/asm/ptrace.h). */
const PT_REGS = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"];
const IRET_AT = 128;
const PT_REGS_SIZE = 168;
const KERNEL_HALF = 0xff00000000000000n;

interface State {
  ip: bigint;
  sp: bigint;
  bp: bigint | undefined;
  signal: boolean;
  /** registers of this level as long as no call was unwound */
  registers: Readonly<Record<string, bigint>> | undefined;
}

type Step =
  | { readonly to: "frame"; readonly at: bigint }
  | { readonly to: "level"; readonly registers: Record<string, bigint>; readonly rflags: bigint }
  | { readonly to: "end" }
  | { readonly to: "user" }
  | { readonly to: "stop"; readonly why: string };

export class Unwinder {
  constructor(
    private readonly kernel: Kernel,
    private readonly text: TextRanges,
    private readonly tables: OrcTables,
    private readonly returns: ReplacedReturns,
    private readonly stackSize: number,
  ) {}

  /** True when this kernel has tables to unwind by. */
  get usable(): boolean {
    return this.tables.version !== undefined;
  }

  unwind(start: StartPoint): Unwound {
    const levels: {
      rip: VirtualAddress;
      sp: bigint;
      registers: Record<string, bigint>;
      rflags: bigint | undefined;
      frames: Frame[];
    }[] = [];
    const state: State = {
      ip: start.rip,
      sp: start.rsp,
      bp: start.registers.rbp,
      signal: start.exact,
      registers: start.registers,
    };
    const open = (registers: Readonly<Record<string, bigint>>, rflags: bigint | undefined): void => {
      const first = this.frame(state, undefined, "register", start.areas);
      levels.push({
        rip: virtualAddress(state.ip),
        sp: state.sp,
        registers,
        rflags,
        frames: first === undefined ? [] : [first],
      });
    };
    open(start.registers, start.rflags);
    const seen = new Set<string>();
    for (let count = 1; count < start.limit; count++) {
      const key = `${state.ip}/${state.sp}`;
      if (seen.has(key)) return { levels, end: "stopped", why: "the stack leads back to a frame that it has already" };
      seen.add(key);
      const before = state.sp;
      const { step, how } = this.step(state);
      if (step.to === "end" || step.to === "user") return { levels, end: step.to };
      if (step.to === "stop") return this.scanOn(levels, state, start, step.why);
      if (step.to === "level") {
        open(step.registers, step.rflags);
        continue;
      }
      if (this.sameStack(start.areas, before, state.sp) && state.sp <= before) {
        return { levels, end: "stopped", why: "the next frame lies below this one" };
      }
      if (this.returns.is(state.ip)) {
        const told = start.task && this.returns.resolve(start.task, state.ip, step.at);
        if (told !== undefined) state.ip = told;
      }
      const frame = this.frame(state, step.at, how, start.areas);
      if (frame === undefined)
        return { levels, end: "stopped", why: `0x${state.ip.toString(16)} is no code of the kernel` };
      levels[levels.length - 1].frames.push(frame);
    }
    return { levels, end: "stopped", why: `more than ${start.limit} frames` };
  }

  private sameStack(areas: readonly StackArea[], a: bigint, b: bigint): boolean {
    const of = (address: bigint): StackArea | undefined =>
      areas.find(({ start, end }) => address >= start && address < end);
    return of(a) === of(b);
  }

  private frame(
    state: State,
    at: bigint | undefined,
    how: FrameSource,
    areas: readonly StackArea[],
  ): Frame | undefined {
    const where = state.signal ? functionOf(this.kernel, state.ip) : callerOf(this.kernel, state.ip);
    // What booted the machine stands on the idle task's stack; its code was freed since.
    const own = this.text.has(state.ip) || this.text.has(state.ip - 1n) || this.inInit(state.ip);
    const known = own && where !== undefined;
    if (!known && !this.isGenerated(state.ip)) return undefined;
    const place = at ?? state.sp;
    const stack = areas.find(({ start, end }) => place >= start && place < end)?.name;
    const named: Place = known ? where.place : { symbol: formatAddress(state.ip), offset: 0, module: null };
    return {
      address: virtualAddress(state.ip),
      symbol: placeText(named),
      place: named,
      start: known ? where.start : virtualAddress(state.ip),
      checked: at === undefined || state.signal || !known || this.isReturn(state.ip),
      how,
      ...(at === undefined ? {} : { at: virtualAddress(at) }),
      ...(stack === undefined ? {} : { stack }),
    };
  }

  /** A return address follows a CALL, or it is where a stack ends. */
  private isReturn(address: bigint): boolean {
    return followsCall(this.kernel, address) || this.inInit(address) || this.tables.find(address - 1n)?.type === "end";
  }

  /** BPF programs and trampolines: in no text, but executable. */
  private isGenerated(address: bigint): boolean {
    return address >= KERNEL_HALF && this.kernel.memory.tryTranslate(virtualAddress(address))?.executable === true;
  }

  private inInit(address: bigint): boolean {
    const [start, end] = [this.kernel.find("_sinittext"), this.kernel.find("_einittext")];
    return start !== undefined && end !== undefined && address >= start && address <= end;
  }

  private word(address: bigint): bigint | undefined {
    if (address < KERNEL_HALF || (address & 7n) !== 0n) return undefined;
    const bytes = this.kernel.memory.tryRead(virtualAddress(address), 8);
    return bytes && getU64(bytes, 0);
  }

  /** Moves the state to the frame that called this one. */
  private step(state: State): { step: Step; how: FrameSource } {
    const asked = state.signal ? state.ip : state.ip - 1n;
    const entry = this.tables.find(asked) ?? this.trampolineEntry(asked);
    if (entry !== undefined) return { step: this.byTable(state, entry), how: "orc" };
    if (!this.text.has(asked) || !this.usable) return { step: this.byFramePointer(state), how: "frame pointer" };
    return { step: { to: "stop", why: "no entry of the ORC tables covers it" }, how: "orc" };
  }

  /** ftrace's trampolines are copies of ftrace_caller or ftrace_regs_caller. */
  private trampolineEntry(ip: bigint): OrcEntry | undefined {
    if (this.text.has(ip)) return undefined;
    const records = ftraceRecords(this.kernel, []);
    for (const { trampoline, trampolineSize } of records?.ops ?? []) {
      if (trampoline === 0n || ip < trampoline || ip >= trampoline + BigInt(trampolineSize)) continue;
      const code = this.kernel.memory.tryRead(trampoline, 32);
      for (const name of ["ftrace_regs_caller", "ftrace_caller"]) {
        const origin = this.kernel.find(name);
        const bytes = origin && this.kernel.memory.tryRead(origin, 32);
        if (origin === undefined || code === undefined || bytes === undefined) continue;
        if (bytes.subarray(0, 24).every((byte, i) => byte === code[i]))
          return this.tables.find(origin + (ip - trampoline));
      }
    }
    return undefined;
  }

  private byTable(state: State, entry: OrcEntry): Step {
    if (entry.type === "end") return { to: "end" };
    if (entry.type === "undefined") return { to: "stop", why: "the ORC tables do not know the stack there" };
    const { registers } = state;
    const base = this.base(state, entry);
    if (base === undefined)
      return { to: "stop", why: `the register that the ORC tables count from (${entry.spBase}) is not known` };
    let sp: bigint = base;
    if (entry.spBase === "sp-at" || entry.spBase === "bp-at") {
      // 5.12 (aafeb14e9da2) adds the offset of sp-at behind the indirection; before, only entry code used it, before it.
      const late = entry.spBase === "sp-at" && entry.type === "call";
      const pointed = this.word(late ? base : stackAdd(base, entry.spOffset));
      if (pointed === undefined) return { to: "stop", why: "the link to the stack below is not in the dump" };
      sp = late ? stackAdd(pointed, entry.spOffset) : pointed;
    } else if (entry.spBase === "sp" || entry.spBase === "bp") sp = stackAdd(base, entry.spOffset);
    if (entry.type === "call") {
      const at = stackAdd(sp, -8);
      const ip = this.word(at);
      if (ip === undefined) return { to: "stop", why: `the stack at 0x${at.toString(16)} is not in the dump` };
      const bp = this.callerBp(state, entry, sp);
      Object.assign(state, { ip, sp, bp, signal: entry.signal, registers: undefined });
      return { to: "frame", at };
    }
    return this.savedRegisters(state, entry, sp, registers);
  }

  private base(state: State, { spBase }: OrcEntry): bigint | undefined {
    if (spBase === "sp" || spBase === "sp-at") return state.sp;
    if (spBase === "bp" || spBase === "bp-at") return state.bp;
    const name = { ax: "rax", dx: "rdx", di: "rdi", r10: "r10", r13: "r13" }[
      spBase as "ax" | "dx" | "di" | "r10" | "r13"
    ];
    return name === undefined ? undefined : state.registers?.[name];
  }

  private callerBp(state: State, entry: OrcEntry, sp: bigint): bigint | undefined {
    if (entry.bpBase === "prev-sp") return this.word(stackAdd(sp, entry.bpOffset));
    if (entry.bpBase === "bp")
      return state.bp === undefined ? undefined : this.word(stackAdd(state.bp, entry.bpOffset));
    return state.bp;
  }

  /** struct pt_regs as a whole at `sp`, or only its hardware frame. */
  private savedRegisters(state: State, entry: OrcEntry, sp: bigint, old: State["registers"]): Step {
    const whole = entry.type === "regs";
    const start = whole ? sp : stackAdd(sp, -IRET_AT);
    const from = whole ? start : sp;
    const bytes =
      from < KERNEL_HALF
        ? undefined
        : this.kernel.memory.tryRead(virtualAddress(from), whole ? PT_REGS_SIZE : PT_REGS_SIZE - IRET_AT);
    if (bytes === undefined) return { to: "stop", why: "the registers that an entry saved are not in the dump" };
    const iret = whole ? IRET_AT : 0;
    const [rip, cs, rflags, rsp] = [0, 8, 16, 24].map((plus) => getU64(bytes, iret + plus));
    if ((cs & 3n) === 3n) return { to: "user" };
    if (!this.text.has(rip) && !this.isGenerated(rip))
      return { to: "stop", why: "what an entry saved are no registers" };
    const registers: Record<string, bigint> = {};
    if (whole)
      PT_REGS.forEach((name, i) => {
        registers[name] = getU64(bytes, i * 8);
      });
    const bp = whole ? registers.rbp : (this.callerBp(state, entry, sp) ?? old?.rbp);
    Object.assign(state, { ip: rip, sp: rsp, bp, signal: true, registers });
    return { to: "level", registers, rflags };
  }

  /** Generated code that no table covers keeps a frame pointer (BPF programs and trampolines do). */
  private byFramePointer(state: State): Step {
    const { bp, sp } = state;
    if (bp === undefined || bp < sp || bp - sp > BigInt(this.stackSize))
      return { to: "stop", why: "there is no frame pointer" };
    const ip = this.word(stackAdd(bp, 8));
    const next = this.word(bp);
    if (ip === undefined || next === undefined || !this.text.has(ip) || !followsCall(this.kernel, ip)) {
      if (ip === undefined || !this.returns.is(ip)) return { to: "stop", why: "the frame pointer leads nowhere" };
    }
    Object.assign(state, { ip, sp: stackAdd(bp, 16), bp: next, signal: false, registers: undefined });
    return { to: "frame", at: stackAdd(bp, 8) };
  }

  /** The checked scan from where the tables end. */
  private scanOn(
    levels: readonly { readonly rip: VirtualAddress; readonly frames: Frame[] }[],
    state: State,
    start: StartPoint,
    why: string,
  ): Unwound {
    const level = levels[levels.length - 1];
    const from = level.frames[level.frames.length - 1];
    const stack = from === undefined ? undefined : readStack(this.kernel, state.sp, this.stackSize);
    const left = start.limit - levels.reduce((sum, { frames }) => sum + frames.length, 0);
    if (from !== undefined && left > 0 && this.text.has(from.address)) {
      level.frames.push(...backtrace(this.kernel, this.text, from.address, stack, left + 1).slice(1));
    }
    return { levels: levels as UnwoundLevel[] & typeof levels, end: "stopped", why };
  }
}

/** The registers with which a switched-out task goes on: struct inactive_task_frame at thread.sp (0100301bfdf5, 4.9). */
export function inactiveStart(
  kernel: Kernel,
  sp: bigint,
): Pick<StartPoint, "rip" | "rsp" | "registers" | "exact"> | undefined {
  const type = "struct inactive_task_frame";
  const { structures: s, types } = kernel;
  const size = types.sizeOf(type);
  const address = s.find(type, "ret_addr")?.offset;
  const bp = s.find(type, "bp")?.offset;
  if (size === undefined || address === undefined || bp === undefined || sp < KERNEL_HALF) return undefined;
  const bytes = kernel.memory.tryRead(virtualAddress(sp), size);
  if (bytes === undefined) return undefined;
  const registers: Record<string, bigint> = { rbp: getU64(bytes, bp) };
  for (const [name, member] of [
    ["rbx", "bx"],
    ["r12", "r12"],
    ["r13", "r13"],
    ["r14", "r14"],
    ["r15", "r15"],
  ]) {
    const at = s.find(type, member)?.offset;
    if (at !== undefined) registers[name] = getU64(bytes, at);
  }
  const rip = getU64(bytes, address);
  const born = ["ret_from_fork_asm", "ret_from_fork"].some((name) => kernel.find(name) === rip);
  return { rip, rsp: addressAdd(virtualAddress(sp), size), registers, exact: born };
}
