// Branches, the stack, flags and the instructions that order, pause or trap.
import * as iced from "iced-x86";
import { UnsupportedError } from "../../bytes/errors.ts";
import type { Builder, Semantics } from "./effects.ts";
import { setFlags } from "./flags.ts";
import { accessesOf, operandOf, registerOperand } from "./operands.ts";
import type { Access, Bus, Effect } from "./operation.ts";
import { AC, CF, type CpuRegisterFile, DF, IF, KEPT, MASK64, OF, PF, RBP, RSP, SF, ZF } from "./registers.ts";

/** The conditions in the processor's own order (the low four bits of Jcc, SETcc and CMOVcc), each with its negation. */
function condition(code: iced.ConditionCode, where: string): (flags: number) => boolean {
  const less = (f: number): boolean => ((f & SF) !== 0) !== ((f & OF) !== 0);
  switch (code) {
    case iced.ConditionCode.o:
      return (f) => (f & OF) !== 0;
    case iced.ConditionCode.no:
      return (f) => (f & OF) === 0;
    case iced.ConditionCode.b:
      return (f) => (f & CF) !== 0;
    case iced.ConditionCode.ae:
      return (f) => (f & CF) === 0;
    case iced.ConditionCode.e:
      return (f) => (f & ZF) !== 0;
    case iced.ConditionCode.ne:
      return (f) => (f & ZF) === 0;
    case iced.ConditionCode.be:
      return (f) => (f & (CF | ZF)) !== 0;
    case iced.ConditionCode.a:
      return (f) => (f & (CF | ZF)) === 0;
    case iced.ConditionCode.s:
      return (f) => (f & SF) !== 0;
    case iced.ConditionCode.ns:
      return (f) => (f & SF) === 0;
    case iced.ConditionCode.p:
      return (f) => (f & PF) !== 0;
    case iced.ConditionCode.np:
      return (f) => (f & PF) === 0;
    case iced.ConditionCode.l:
      return less;
    case iced.ConditionCode.ge:
      return (f) => !less(f);
    case iced.ConditionCode.le:
      return (f) => (f & ZF) !== 0 || less(f);
    case iced.ConditionCode.g:
      return (f) => (f & ZF) === 0 && !less(f);
    default:
      throw new UnsupportedError(where, `condition ${iced.ConditionCode[code]}`);
  }
}

export const pushAddress = (cpu: CpuRegisterFile): bigint => (cpu.general[RSP] - 8n) & MASK64;
export const popAddress = (cpu: CpuRegisterFile): bigint => cpu.general[RSP];
const PUSH: Access = { kind: "store", size: 8, address: pushAddress };
const POP: Access = { kind: "load", size: 8, address: popAddress };

export function push(cpu: CpuRegisterFile, bus: Bus, value: bigint): void {
  const at = pushAddress(cpu);
  cpu.general[RSP] = at;
  bus.store(at, 8, value);
}

function pop(cpu: CpuRegisterFile, bus: Bus): bigint {
  const value = bus.load(cpu.general[RSP], 8);
  cpu.general[RSP] = (cpu.general[RSP] + 8n) & MASK64;
  return value;
}

/** The value that PUSHF pushes: bit 1 always reads as one. */
const flagsImage = (cpu: CpuRegisterFile): bigint => BigInt((cpu.flags & KEPT) | 2);

function jumpTo(cpu: CpuRegisterFile, target: bigint): void {
  cpu.rip = target;
}

function isBranchTarget(kind: iced.OpKind): boolean {
  return kind === iced.OpKind.NearBranch64;
}

const jcc: Builder = (instruction, where) => {
  const test = condition(instruction.conditionCode, where);
  const target = instruction.nearBranchTarget;
  return {
    accesses: [],
    run: (cpu) => {
      if (test(cpu.flags)) cpu.rip = target;
    },
  };
};

const jmp: Builder = (instruction, where) => {
  if (isBranchTarget(instruction.op0Kind)) {
    const target = instruction.nearBranchTarget;
    return { accesses: [], run: (cpu) => jumpTo(cpu, target) };
  }
  if (!instruction.isJmpNearIndirect) throw new UnsupportedError(where, "a far jump");
  const to = operandOf(instruction, 0, where);
  return { accesses: accessesOf(to, "load"), run: (cpu, bus) => jumpTo(cpu, to.load(cpu, bus, to.address(cpu))) };
};

const call: Builder = (instruction, where) => {
  if (isBranchTarget(instruction.op0Kind)) {
    const target = instruction.nearBranchTarget;
    return {
      accesses: [PUSH],
      run: (cpu, bus) => {
        push(cpu, bus, cpu.rip);
        cpu.rip = target;
      },
    };
  }
  if (!instruction.isCallNearIndirect) throw new UnsupportedError(where, "a far call");
  const to = operandOf(instruction, 0, where);
  return {
    accesses: [...accessesOf(to, "load"), PUSH],
    run: (cpu, bus) => {
      const target = to.load(cpu, bus, to.address(cpu));
      push(cpu, bus, cpu.rip);
      cpu.rip = target;
    },
  };
};

const ret: Builder = (instruction) => {
  const extra = instruction.opCount > 0 ? instruction.immediate(0) : 0n;
  return {
    accesses: [POP],
    run: (cpu, bus) => {
      cpu.rip = pop(cpu, bus);
      cpu.general[RSP] = (cpu.general[RSP] + extra) & MASK64;
    },
  };
};

const pushOperand: Builder = (instruction, where) => {
  if (instruction.stackPointerIncrement !== -8) throw new UnsupportedError(where, "a 16-bit push");
  const src = operandOf(instruction, 0, where);
  return {
    accesses: [...accessesOf(src, "load"), PUSH],
    run: (cpu, bus) => push(cpu, bus, src.load(cpu, bus, src.address(cpu))),
  };
};

const popOperand: Builder = (instruction, where) => {
  if (instruction.stackPointerIncrement !== 8) throw new UnsupportedError(where, "a 16-bit pop");
  const dst = operandOf(instruction, 0, where);
  // An address by RSP is computed after the increment.
  return {
    accesses: [POP, ...accessesOf(dst, "store")],
    run: (cpu, bus) => {
      const value = pop(cpu, bus);
      dst.store(cpu, bus, dst.address(cpu), value);
    },
  };
};

const leave: Builder = () => ({
  accesses: [{ kind: "load", size: 8, address: (cpu) => cpu.general[RBP] }],
  run: (cpu, bus) => {
    cpu.general[RSP] = cpu.general[RBP];
    cpu.general[RBP] = pop(cpu, bus);
  },
});

const setcc: Builder = (instruction, where) => {
  const test = condition(instruction.conditionCode, where);
  const dst = operandOf(instruction, 0, where);
  return {
    accesses: accessesOf(dst, "store"),
    run: (cpu, bus) => dst.store(cpu, bus, dst.address(cpu), test(cpu.flags) ? 1n : 0n),
  };
};

/** CMOVcc reads its source always, and with 32 bits clears the upper half always. */
const cmovcc: Builder = (instruction, where) => {
  const test = condition(instruction.conditionCode, where);
  const dst = operandOf(instruction, 0, where);
  const src = operandOf(instruction, 1, where);
  return {
    accesses: accessesOf(src, "load"),
    run: (cpu, bus) => {
      const value = src.load(cpu, bus, src.address(cpu));
      dst.store(cpu, bus, 0n, test(cpu.flags) ? value : dst.load(cpu, bus, 0n));
    },
  };
};

const NOTHING: Effect = { accesses: [], run: () => {} };
const nothing: Builder = () => NOTHING;
const flag = (bit: number, value: number): Builder => {
  const effect: Effect = { accesses: [], run: (cpu) => setFlags(cpu, bit, value) };
  return () => effect;
};
const event = (name: NonNullable<Effect["event"]>): Builder => {
  const effect: Effect = { accesses: [], event: name, run: () => {} };
  return () => effect;
};

const RCX_OPERAND = registerOperand(1, 8);
const jrcxz: Builder = (instruction) => {
  const target = instruction.nearBranchTarget;
  return {
    accesses: [],
    run: (cpu, bus) => {
      if (RCX_OPERAND.load(cpu, bus, 0n) === 0n) cpu.rip = target;
    },
  };
};

/** Jcc, SETcc and CMOVcc, told apart by the instruction's shape rather than by 48 mnemonics. */
export function conditional(instruction: iced.Instruction): Builder | undefined {
  if (instruction.conditionCode === iced.ConditionCode.None) return undefined;
  if (instruction.isJccShortOrNear) return jcc;
  const name = iced.Mnemonic[instruction.mnemonic];
  if (name.startsWith("Set")) return setcc;
  if (name.startsWith("Cmov")) return cmovcc;
  return undefined;
}

export const CONTROL_SEMANTICS: Semantics = new Map<iced.Mnemonic, Builder>([
  [iced.Mnemonic.Jmp, jmp],
  [iced.Mnemonic.Call, call],
  [iced.Mnemonic.Ret, ret],
  [iced.Mnemonic.Jrcxz, jrcxz],
  [iced.Mnemonic.Push, pushOperand],
  [iced.Mnemonic.Pop, popOperand],
  [iced.Mnemonic.Leave, leave],
  [iced.Mnemonic.Pushfq, () => ({ accesses: [PUSH], run: (cpu, bus) => push(cpu, bus, flagsImage(cpu)) })],
  [
    iced.Mnemonic.Popfq,
    () => ({ accesses: [POP], run: (cpu, bus) => setFlags(cpu, KEPT, Number(pop(cpu, bus) & BigInt(KEPT))) }),
  ],
  [iced.Mnemonic.Cli, flag(IF, 0)],
  [iced.Mnemonic.Sti, flag(IF, IF)],
  [iced.Mnemonic.Clc, flag(CF, 0)],
  [iced.Mnemonic.Stc, flag(CF, CF)],
  [iced.Mnemonic.Cld, flag(DF, 0)],
  [iced.Mnemonic.Std, flag(DF, DF)],
  [iced.Mnemonic.Clac, flag(AC, 0)],
  [iced.Mnemonic.Stac, flag(AC, AC)],
  [iced.Mnemonic.Cmc, () => ({ accesses: [], run: (cpu) => setFlags(cpu, CF, ~cpu.flags) })],
  [iced.Mnemonic.Nop, nothing],
  [iced.Mnemonic.Pause, nothing],
  [iced.Mnemonic.Endbr64, nothing],
  [iced.Mnemonic.Prefetchw, nothing],
  [iced.Mnemonic.Prefetcht0, nothing],
  [iced.Mnemonic.Prefetcht1, nothing],
  [iced.Mnemonic.Prefetcht2, nothing],
  [iced.Mnemonic.Prefetchnta, nothing],
  // Loads are never reordered among themselves in x86-TSO, nor stores: these two add nothing for ordinary memory.
  [iced.Mnemonic.Lfence, nothing],
  [iced.Mnemonic.Sfence, nothing],
  [iced.Mnemonic.Mfence, () => ({ accesses: [], fence: true, run: () => {} })],
  [iced.Mnemonic.Hlt, event("halt")],
  [iced.Mnemonic.Vmcall, event("hypercall")],
  [iced.Mnemonic.Vmmcall, event("hypercall")],
  [iced.Mnemonic.Rdmsr, event("read-msr")],
  [iced.Mnemonic.Int3, event("trap")],
  [iced.Mnemonic.Ud0, event("trap")],
  [iced.Mnemonic.Ud1, event("trap")],
  [iced.Mnemonic.Ud2, event("trap")],
]);
