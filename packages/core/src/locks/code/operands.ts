// Which lock a call works on: what %rdi holds at each call of a function, where that follows from constants (a symbol's
// address moved into a register, perhaps long before the call). Constants are followed along all paths of the function.
import * as iced from "iced-x86";
import { type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { REGISTER_NAMES } from "../../x86/register-names.ts";

/**
 * Registers 0 … 15 by number; undefined is neither a constant nor counted from the function's first argument. Behind them
 * lie the stack slots into which registers were spilled, see slotOf().
 */
type State = (bigint | undefined)[];
const REGISTERS = 16;

const MASK64 = (1n << 64n) - 1n;
/** What stands for the first argument: above all addresses, so that argument + offset stays apart from constants. */
const ARGUMENT = 1n << 80n;
const isArgument = (value: bigint): boolean => value >= 1n << 79n;
const add = (value: bigint, offset: bigint): bigint =>
  isArgument(value) ? value + BigInt.asIntN(64, offset) : (value + BigInt.asIntN(64, offset)) & MASK64;
const RDI = 7;
/** What the C calling convention lets a call change: rax, rcx, rdx, rsi, rdi, r8 … r11. */
const CLOBBERED: readonly number[] = [0, 1, 2, 6, 7, 8, 9, 10, 11];
/** Steps of one function; each instruction is visited a few times at most. */
const MAX_STEPS = 100_000;

export interface CallOperand {
  /** address of the instruction */
  readonly at: VirtualAddress;
  /** CALL or JMP target; undefined for an indirect call or no call at all (an inlined operation that was asked for) */
  readonly target: KernelOffset | undefined;
  /** %rdi before the instruction; undefined when it is no constant */
  readonly rdi: bigint | undefined;
  /** %rdi counted from the function's own first argument, when it is that */
  readonly fromArgument: number | undefined;
}

interface Step {
  readonly next: number;
  readonly flow: iced.FlowControl;
  /** near branch target */
  readonly target: bigint;
  apply(state: State): void;
}

/**
 * The first argument at every near call and tail jump of a function, and at the instructions asked for.
 * @param bytes the whole function as it stands in the dump
 * @param start its address
 * @param also addresses of further instructions
 */
export function callOperands(bytes: Uint8Array, start: bigint, also: ReadonlySet<bigint> = new Set()): CallOperand[] {
  const steps = decodeSteps(bytes, start);
  const states = followPaths(steps, bytes.length, start);
  const out: CallOperand[] = [];
  for (const [at, step] of steps) {
    const address = (start + BigInt(at)) as VirtualAddress;
    const leaves = step.target !== 0n && (step.target < start || step.target >= start + BigInt(bytes.length));
    const call = step.flow === iced.FlowControl.Call;
    const tail = step.flow === iced.FlowControl.UnconditionalBranch && leaves;
    const indirect = step.flow === iced.FlowControl.IndirectCall;
    if (!call && !tail && !indirect && !also.has(address)) continue;
    const target = step.target === 0n ? undefined : toKernelOffset(step.target);
    const rdi = states.get(at)?.[RDI];
    out.push({
      at: address,
      target,
      rdi: rdi === undefined || isArgument(rdi) ? undefined : rdi,
      fromArgument: rdi !== undefined && isArgument(rdi) ? Number(rdi - ARGUMENT) : undefined,
    });
  }
  return out;
}

/**
 * Registers that hold the function's first argument just before the instruction at `at`, by name; none when the place is
 * not reached or no register has it any more.
 */
export function argumentRegisters(bytes: Uint8Array, start: bigint, at: bigint): string[] {
  const states = followPaths(decodeSteps(bytes, start), bytes.length, start);
  const state = states.get(Number(at - start)) ?? [];
  return REGISTER_NAMES.filter((_, i) => state[i] === ARGUMENT);
}

function followPaths(steps: ReadonlyMap<number, Step>, length: number, start: bigint): Map<number, State> {
  const states = new Map<number, State>();
  const work: number[] = [0];
  const entry: State = new Array<bigint | undefined>(REGISTERS + SLOTS).fill(undefined);
  entry[RDI] = ARGUMENT;
  states.set(0, entry);
  let budget = MAX_STEPS;
  const flowTo = (at: number, state: State): void => {
    if (at < 0 || at >= length) return;
    const known = states.get(at);
    if (known === undefined) {
      states.set(at, [...state]);
      work.push(at);
      return;
    }
    let changed = false;
    for (let i = 0; i < known.length; i++) {
      if (known[i] !== undefined && known[i] !== state[i]) {
        known[i] = undefined;
        changed = true;
      }
    }
    if (changed) work.push(at);
  };
  while (work.length > 0 && budget-- > 0) {
    const at = work.pop() ?? 0;
    const step = steps.get(at);
    const before = states.get(at);
    if (step === undefined || before === undefined) continue;
    const state = [...before];
    step.apply(state);
    const { flow } = step;
    const inside = Number(step.target - start);
    const jumps = flow === iced.FlowControl.ConditionalBranch || flow === iced.FlowControl.UnconditionalBranch;
    if (jumps) flowTo(inside, state);
    if (!endsRun(flow)) flowTo(step.next, state);
  }
  // A function so large that its paths were not followed to the end has states that may still change: none are told.
  if (budget < 0) states.clear();
  return states;
}

/** After these nothing follows in address order. A function, since a page loads the decoder behind this module. */
function endsRun(flow: iced.FlowControl): boolean {
  return (
    flow === iced.FlowControl.UnconditionalBranch ||
    flow === iced.FlowControl.Return ||
    flow === iced.FlowControl.IndirectBranch ||
    flow === iced.FlowControl.Exception
  );
}

function decodeSteps(bytes: Uint8Array, start: bigint): Map<number, Step> {
  const steps = new Map<number, Step>();
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const instruction = new iced.Instruction();
  const factory = new iced.InstructionInfoFactory();
  try {
    decoder.ip = start;
    let at = 0;
    while (at < bytes.length) {
      decoder.decodeOut(instruction);
      if (instruction.code === iced.Code.INVALID) break;
      steps.set(at, stepOf(instruction, factory, at));
      at += instruction.length;
    }
  } finally {
    factory.free();
    instruction.free();
    decoder.free();
  }
  return steps;
}

function stepOf(instruction: iced.Instruction, factory: iced.InstructionInfoFactory, at: number): Step {
  const flow = instruction.flowControl;
  const next = at + instruction.length;
  const branches =
    flow === iced.FlowControl.Call ||
    flow === iced.FlowControl.ConditionalBranch ||
    flow === iced.FlowControl.UnconditionalBranch;
  return {
    next,
    flow,
    target: branches ? instruction.nearBranchTarget : 0n,
    apply: effectOf(instruction, factory),
  };
}

const numberOf = (register: iced.Register): number => {
  const full = iced.RegisterExt.fullRegister(register);
  return full >= iced.Register.RAX && full <= iced.Register.R15 ? full - iced.Register.RAX : -1;
};

function effectOf(instruction: iced.Instruction, factory: iced.InstructionInfoFactory): (state: State) => void {
  const { flowControl } = instruction;
  if (flowControl === iced.FlowControl.Call || flowControl === iced.FlowControl.IndirectCall) {
    return (state) => {
      for (const register of CLOBBERED) state[register] = undefined;
    };
  }
  const constant = spillEffect(instruction) ?? constantEffect(instruction);
  if (constant !== undefined) return constant;
  const written: number[] = [];
  const info = factory.info(instruction);
  for (const used of info.usedRegisters()) {
    const { access, register } = used;
    if (access !== iced.OpAccess.Read && access !== iced.OpAccess.CondRead && access !== iced.OpAccess.None) {
      const number = numberOf(register);
      if (number >= 0 && access !== iced.OpAccess.NoMemAccess) written.push(number);
    }
    used.free();
  }
  info.free();
  return (state) => {
    for (const register of written) state[register] = undefined;
  };
}

/** Spilled registers that are followed: 8-byte slots below %rbp. %rsp moves, so that slots counted from it are not. */
const SLOTS = 32;

/** State index of `disp(%rbp)`, -1 for anything else. */
function slotOf(instruction: iced.Instruction): number {
  if (instruction.memoryBase !== iced.Register.RBP || instruction.memoryIndex !== iced.Register.None) return -1;
  const displacement = Number(BigInt.asIntN(64, instruction.memoryDisplacement));
  const slot = -displacement / 8 - 1;
  return Number.isInteger(slot) && slot >= 0 && slot < SLOTS ? REGISTERS + slot : -1;
}

/** A 64-bit register stored to or loaded from its stack slot. */
function spillEffect(instruction: iced.Instruction): ((state: State) => void) | undefined {
  if (instruction.mnemonic !== iced.Mnemonic.Mov || instruction.opCount !== 2) return undefined;
  const store = instruction.opKind(0) === iced.OpKind.Memory;
  if (!store && instruction.opKind(1) !== iced.OpKind.Memory) return undefined;
  const slot = slotOf(instruction);
  if (slot < 0) return undefined;
  const other = store ? 1 : 0;
  const register =
    instruction.opKind(other) === iced.OpKind.Register ? instruction.opRegister(other) : iced.Register.None;
  const number = numberOf(register);
  const whole = number >= 0 && iced.RegisterExt.size(register) === 8;
  if (store) {
    return (state) => {
      state[slot] = whole ? state[number] : undefined;
    };
  }
  if (!whole) return undefined;
  return (state) => {
    state[number] = state[slot];
  };
}

/** Moves, address computations and additions of constants to 64-bit registers. */
function constantEffect(instruction: iced.Instruction): ((state: State) => void) | undefined {
  if (instruction.opCount < 2 || instruction.opKind(0) !== iced.OpKind.Register) return undefined;
  const register = instruction.opRegister(0);
  const size = iced.RegisterExt.size(register);
  const to = numberOf(register);
  if (to < 0 || size < 4) return undefined;
  const kind = instruction.opKind(1);
  const { mnemonic } = instruction;
  if (mnemonic === iced.Mnemonic.Mov && kind === iced.OpKind.Register) {
    const from = numberOf(instruction.opRegister(1));
    if (from < 0 || size !== 8) return undefined;
    return (state) => {
      state[to] = state[from];
    };
  }
  if (mnemonic === iced.Mnemonic.Lea) {
    const displacement = instruction.memoryDisplacement;
    if (instruction.memoryIndex !== iced.Register.None || size !== 8) return undefined;
    if (instruction.isIpRelMemoryOperand) {
      const value = instruction.ipRelMemoryAddress;
      return (state) => {
        state[to] = value;
      };
    }
    const from = numberOf(instruction.memoryBase);
    if (from < 0) return undefined;
    return (state) => {
      const base = state[from];
      state[to] = base === undefined ? undefined : add(base, displacement);
    };
  }
  const immediate =
    kind === iced.OpKind.Immediate32 ||
    kind === iced.OpKind.Immediate64 ||
    kind === iced.OpKind.Immediate8to64 ||
    kind === iced.OpKind.Immediate32to64;
  if (!immediate) return undefined;
  const value = instruction.immediate(1) & MASK64;
  if (mnemonic === iced.Mnemonic.Mov) {
    return (state) => {
      state[to] = size === 4 ? value & 0xffffffffn : value;
    };
  }
  const sign = mnemonic === iced.Mnemonic.Add ? 1n : mnemonic === iced.Mnemonic.Sub ? -1n : 0n;
  if (sign === 0n || size !== 8) return undefined;
  return (state) => {
    const before = state[to];
    state[to] = before === undefined ? undefined : add(before, sign * BigInt.asIntN(64, value));
  };
}
