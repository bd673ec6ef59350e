// One instruction as liveness.ts sees it: what it reads, what it overwrites, where it goes on and what it does to the
// stack pointer.
import * as iced from "iced-x86";
import { AF, CF, OF, PF, SF, ZF } from "./registers.ts";

/** A set of register lanes and flags. `low`: bit r = byte 0 of register r, bit 16+r = byte 1; `high`: bit r = the rest. */
export interface Live {
  readonly low: number;
  readonly high: number;
  /** CF, PF … as in RFLAGS */
  readonly flags: number;
}

export const ALL: Live = { low: -1, high: 0xffff, flags: OF | SF | ZF | AF | CF | PF };
export const NONE: Live = { low: 0, high: 0, flags: 0 };
/** The whole of RAX. */
export const ONLY_RAX: Live = { low: 0x10001, high: 1, flags: 0 };

export function union(a: Live, b: Live): Live {
  return { low: a.low | b.low, high: a.high | b.high, flags: a.flags | b.flags };
}
export function minus(a: Live, b: Live): Live {
  return { low: a.low & ~b.low, high: a.high & ~b.high, flags: a.flags & ~b.flags };
}
export function equal(a: Live, b: Live): boolean {
  return a.low === b.low && a.high === b.high && a.flags === b.flags;
}

/** How an instruction goes on. "unknown": everything may be read from there on. "stop": the machine ends there. */
export type Flow = "next" | "call" | "return" | "stop" | "unknown";

/** What it does to RSP: a constant, RSP = RBP + 8 (leave), or something else. */
export type StackEffect = number | "leave" | "unknown";

export interface LiveNode {
  readonly use: Live;
  /** overwritten without being read */
  readonly kill: Live;
  readonly flow: Flow;
  /** Jump targets and the next instruction for "next"; the callee for "call". */
  readonly targets: readonly bigint[];
  /** The following instruction. */
  readonly next: bigint;
  readonly stack: StackEffect;
  /** A store at this displacement from RSP, other than a push. */
  readonly storesAt?: number;
  /** What it does to RBP: nothing, RBP = RSP, RBP = the popped slot, or something else. */
  readonly frame: "same" | "from-stack-pointer" | "popped" | "unknown";
}

export const UNKNOWN_NODE: LiveNode = {
  use: ALL,
  kill: NONE,
  flow: "unknown",
  targets: [],
  next: 0n,
  stack: "unknown",
  frame: "unknown",
};

function lanesOf(register: iced.Register): Live {
  const full = iced.RegisterExt.fullRegister(register);
  if (full < iced.Register.RAX || full > iced.Register.R15) return NONE;
  const bit = 1 << (full - iced.Register.RAX);
  const size = iced.RegisterExt.size(register);
  if (size >= 4) return { low: bit | (bit << 16), high: bit, flags: 0 };
  if (size === 2) return { low: bit | (bit << 16), high: 0, flags: 0 };
  const high = register >= iced.Register.AH && register <= iced.Register.BH;
  return { low: high ? bit << 16 : bit, high: 0, flags: 0 };
}

function flagsOf(bits: number): Live {
  const flags =
    (bits & iced.RflagsBits.OF ? OF : 0) |
    (bits & iced.RflagsBits.SF ? SF : 0) |
    (bits & iced.RflagsBits.ZF ? ZF : 0) |
    (bits & iced.RflagsBits.AF ? AF : 0) |
    (bits & iced.RflagsBits.CF ? CF : 0) |
    (bits & iced.RflagsBits.PF ? PF : 0);
  return { low: 0, high: 0, flags };
}

const READS: ReadonlySet<iced.OpAccess> = new Set([
  iced.OpAccess.Read,
  iced.OpAccess.CondRead,
  iced.OpAccess.ReadWrite,
  iced.OpAccess.ReadCondWrite,
]);
/** A shift or rotate by CL leaves the flags alone when CL is 0. */
const MAYBE_FLAGS: ReadonlySet<iced.Mnemonic> = new Set([
  iced.Mnemonic.Shl,
  iced.Mnemonic.Sal,
  iced.Mnemonic.Shr,
  iced.Mnemonic.Sar,
  iced.Mnemonic.Rol,
  iced.Mnemonic.Ror,
]);

/** @param factory reused for all instructions of a run */
export function liveNode(instruction: iced.Instruction, factory: iced.InstructionInfoFactory): LiveNode {
  const info = factory.info(instruction);
  let use = flagsOf(instruction.rflagsRead);
  let kill: Live = MAYBE_FLAGS.has(instruction.mnemonic) ? NONE : flagsOf(instruction.rflagsModified);
  let writesStack = false;
  let writesFrame = false;
  for (const used of info.usedRegisters()) {
    const lanes = lanesOf(used.register);
    const reads = READS.has(used.access);
    if (reads) use = union(use, lanes);
    else if (used.access === iced.OpAccess.Write) kill = union(kill, lanes);
    if (used.access !== iced.OpAccess.Read && used.access !== iced.OpAccess.CondRead) {
      const full = iced.RegisterExt.fullRegister(used.register);
      writesStack ||= full === iced.Register.RSP;
      writesFrame ||= full === iced.Register.RBP;
    }
    used.free();
  }
  info.free();
  return {
    use,
    kill,
    ...flowOf(instruction),
    next: instruction.nextIP,
    stack: writesStack ? stackEffect(instruction) : 0,
    frame: writesFrame ? frameEffect(instruction) : "same",
    storesAt:
      instruction.op0Kind === iced.OpKind.Memory && isPlainStackOperand(instruction) && !instruction.isStackInstruction
        ? Number(BigInt.asIntN(64, instruction.memoryDisplacement))
        : undefined,
  };
}

function flowOf(instruction: iced.Instruction): Pick<LiveNode, "flow" | "targets"> {
  switch (instruction.flowControl) {
    case iced.FlowControl.Next:
      return { flow: "next", targets: [instruction.nextIP] };
    case iced.FlowControl.ConditionalBranch:
      return { flow: "next", targets: [instruction.nextIP, instruction.nearBranchTarget] };
    case iced.FlowControl.UnconditionalBranch:
      return { flow: "next", targets: [instruction.nearBranchTarget] };
    case iced.FlowControl.Call:
      return instruction.isCallNear
        ? { flow: "call", targets: [instruction.nearBranchTarget] }
        : { flow: "unknown", targets: [] };
    case iced.FlowControl.Return:
      return {
        flow: instruction.mnemonic === iced.Mnemonic.Ret && instruction.opCount === 0 ? "return" : "unknown",
        targets: [],
      };
    case iced.FlowControl.Exception:
    case iced.FlowControl.Interrupt:
      return { flow: "stop", targets: [] };
    default:
      return { flow: "unknown", targets: [] };
  }
}

function stackEffect(instruction: iced.Instruction): StackEffect {
  const { mnemonic } = instruction;
  if (mnemonic === iced.Mnemonic.Leave) return "leave";
  if (instruction.isStackInstruction && instruction.op0Register !== iced.Register.RSP)
    return instruction.stackPointerIncrement;
  if (mnemonic === iced.Mnemonic.Push) return instruction.stackPointerIncrement;
  const constant = instruction.op0Register === iced.Register.RSP && instruction.opCount === 2;
  if (constant && (mnemonic === iced.Mnemonic.Add || mnemonic === iced.Mnemonic.Sub)) {
    if (instruction.op1Kind === iced.OpKind.Register || instruction.op1Kind === iced.OpKind.Memory) return "unknown";
    const value = Number(BigInt.asIntN(64, instruction.immediate(1)));
    return mnemonic === iced.Mnemonic.Add ? value : -value;
  }
  if (constant && mnemonic === iced.Mnemonic.Lea && isPlainStackOperand(instruction))
    return Number(BigInt.asIntN(64, instruction.memoryDisplacement));
  return "unknown";
}

function isPlainStackOperand(instruction: iced.Instruction): boolean {
  return instruction.memoryBase === iced.Register.RSP && instruction.memoryIndex === iced.Register.None;
}

function frameEffect(instruction: iced.Instruction): LiveNode["frame"] {
  if (instruction.mnemonic === iced.Mnemonic.Leave || instruction.mnemonic === iced.Mnemonic.Pop) return "popped";
  const fromStack = instruction.mnemonic === iced.Mnemonic.Mov && instruction.op1Register === iced.Register.RSP;
  return fromStack && instruction.op0Register === iced.Register.RBP ? "from-stack-pointer" : "unknown";
}
