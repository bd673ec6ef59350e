// Moves, addition and subtraction, logic, multiplication, sign extension of the accumulator.
import * as iced from "iced-x86";
import { UnsupportedError } from "../bytes/errors.ts";
import { type Builder, binary, compare, convert, type Semantics, unary } from "./effects.ts";
import { add, logic, resultFlags, setFlags, signed, subtract } from "./flags.ts";
import { accessesOf, effectiveAddress, operandOf } from "./operands.ts";
import {
  ARITHMETIC,
  CF,
  type CpuRegisterFile,
  maskOf,
  OF,
  RAX,
  RDX,
  readRegister,
  type Size,
  writeRegister,
  ZF,
} from "./registers.ts";

const ALL_BUT_CARRY = ARITHMETIC & ~CF;

const carryOf = (cpu: CpuRegisterFile): bigint => ((cpu.flags & CF) !== 0 ? 1n : 0n);

const lea: Builder = (instruction, where) => {
  const dst = operandOf(instruction, 0, where);
  const address = effectiveAddress(instruction, where, false);
  return { accesses: [], run: (cpu, bus) => dst.store(cpu, bus, 0n, address(cpu)) };
};

/** IMUL with two or three operands: signed, truncated; CF and OF tell of a lost upper half. */
const imul: Builder = (instruction, where) => {
  if (instruction.opCount < 2) throw new UnsupportedError(where, "one-operand imul");
  const three = instruction.opCount === 3;
  const dst = operandOf(instruction, 0, where);
  const a = operandOf(instruction, three ? 1 : 0, where);
  const b = operandOf(instruction, three ? 2 : 1, where);
  return {
    accesses: [...accessesOf(a, "load"), ...accessesOf(b, "load")],
    run: (cpu, bus) => {
      const x = signed(a.load(cpu, bus, a.address(cpu)), dst.size);
      const y = signed(b.load(cpu, bus, b.address(cpu)), dst.size);
      const result = (x * y) & maskOf(dst.size);
      const lost = signed(result, dst.size) !== x * y ? CF | OF : 0;
      setFlags(cpu, ARITHMETIC, (resultFlags(result, dst.size) & ~ZF) | lost);
      dst.store(cpu, bus, 0n, result);
    },
  };
};

/** CBW, CWDE, CDQE: the accumulator's lower half, sign-extended into the whole. */
function extendAccumulator(from: Size, to: Size): Builder {
  return () => ({
    accesses: [],
    run: (cpu) => writeRegister(cpu, RAX, to, false, signed(readRegister(cpu, RAX, from, false), from) & maskOf(to)),
  });
}

/** CWD, CDQ, CQO: the accumulator's sign into RDX. */
function signIntoData(size: Size): Builder {
  return () => ({
    accesses: [],
    run: (cpu) =>
      writeRegister(cpu, RDX, size, false, signed(readRegister(cpu, RAX, size, false), size) < 0n ? maskOf(size) : 0n),
  });
}

export const ARITHMETIC_SEMANTICS: Semantics = new Map<iced.Mnemonic, Builder>([
  [iced.Mnemonic.Mov, convert((v) => v)],
  [iced.Mnemonic.Movzx, convert((v) => v)],
  [iced.Mnemonic.Movsx, convert((v, from, to) => signed(v, from) & maskOf(to))],
  [iced.Mnemonic.Movsxd, convert((v, from, to) => signed(v, from) & maskOf(to))],
  [iced.Mnemonic.Lea, lea],
  [iced.Mnemonic.Add, binary((cpu, a, b, size) => add(cpu, a, b, 0n, size))],
  [iced.Mnemonic.Adc, binary((cpu, a, b, size) => add(cpu, a, b, carryOf(cpu), size))],
  [iced.Mnemonic.Sub, binary((cpu, a, b, size) => subtract(cpu, a, b, 0n, size))],
  [iced.Mnemonic.Sbb, binary((cpu, a, b, size) => subtract(cpu, a, b, carryOf(cpu), size))],
  [iced.Mnemonic.And, binary((cpu, a, b, size) => logic(cpu, a & b, size))],
  [iced.Mnemonic.Or, binary((cpu, a, b, size) => logic(cpu, a | b, size))],
  [iced.Mnemonic.Xor, binary((cpu, a, b, size) => logic(cpu, a ^ b, size))],
  [iced.Mnemonic.Cmp, compare((cpu, a, b, size) => subtract(cpu, a, b, 0n, size))],
  [iced.Mnemonic.Test, compare((cpu, a, b, size) => logic(cpu, a & b, size))],
  [iced.Mnemonic.Inc, unary((cpu, a, size) => add(cpu, a, 1n, 0n, size, ALL_BUT_CARRY))],
  [iced.Mnemonic.Dec, unary((cpu, a, size) => subtract(cpu, a, 1n, 0n, size, ALL_BUT_CARRY))],
  [iced.Mnemonic.Neg, unary((cpu, a, size) => subtract(cpu, 0n, a, 0n, size))],
  [iced.Mnemonic.Not, unary((_cpu, a, size) => ~a & maskOf(size))],
  [iced.Mnemonic.Imul, imul],
  [iced.Mnemonic.Cbw, extendAccumulator(1, 2)],
  [iced.Mnemonic.Cwde, extendAccumulator(2, 4)],
  [iced.Mnemonic.Cdqe, extendAccumulator(4, 8)],
  [iced.Mnemonic.Cwd, signIntoData(2)],
  [iced.Mnemonic.Cdq, signIntoData(4)],
  [iced.Mnemonic.Cqo, signIntoData(8)],
]);
