// Moves, addition and subtraction, logic, multiplication, sign extension of the accumulator.
import * as iced from "iced-x86";
import { UnsupportedError } from "../../bytes/errors.ts";
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
  if (instruction.opCount < 2) return multiply(true)(instruction, where);
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

/** MUL and IMUL with one operand: RDX:RAX (AX for bytes) = RAX × operand; CF and OF tell of an upper half in use. */
function multiply(isSigned: boolean): Builder {
  return (instruction, where) => {
    const src = operandOf(instruction, 0, where);
    const { size } = src;
    return {
      accesses: accessesOf(src, "load"),
      run: (cpu, bus) => {
        const wide = (value: bigint): bigint => (isSigned ? signed(value, size) : value);
        const product = wide(readRegister(cpu, RAX, size, false)) * wide(src.load(cpu, bus, src.address(cpu)));
        const low = product & maskOf(size);
        if (size === 1) writeRegister(cpu, RAX, 2, false, product & maskOf(2));
        else {
          writeRegister(cpu, RAX, size, false, low);
          writeRegister(cpu, RDX, size, false, (product >> BigInt(size * 8)) & maskOf(size));
        }
        setFlags(cpu, ARITHMETIC, (resultFlags(low, size) & ~ZF) | (wide(low) !== product ? CF | OF : 0));
      },
    };
  };
}

/** DIV and IDIV: RAX = RDX:RAX / operand, RDX the rest (AL, AH for bytes). @throws UnsupportedError for #DE */
function divide(isSigned: boolean): Builder {
  return (instruction, where) => {
    const src = operandOf(instruction, 0, where);
    const { size } = src;
    const bits = size * 8;
    return {
      accesses: accessesOf(src, "load"),
      run: (cpu, bus) => {
        const by = src.load(cpu, bus, src.address(cpu));
        const whole =
          size === 1
            ? readRegister(cpu, RAX, 2, false)
            : (readRegister(cpu, RDX, size, false) << BigInt(bits)) | readRegister(cpu, RAX, size, false);
        const dividend = isSigned ? BigInt.asIntN(bits * 2, whole) : whole;
        const divisor = isSigned ? signed(by, size) : by;
        const quotient = divisor === 0n ? 0n : dividend / divisor;
        const fits = isSigned ? BigInt.asIntN(bits, quotient) === quotient : quotient <= maskOf(size);
        if (divisor === 0n || !fits) throw new UnsupportedError(where, "a division that faults");
        const rest = (dividend % divisor) & maskOf(size);
        if (size === 1) writeRegister(cpu, RAX, 2, false, (rest << 8n) | (quotient & maskOf(1)));
        else {
          writeRegister(cpu, RAX, size, false, quotient & maskOf(size));
          writeRegister(cpu, RDX, size, false, rest);
        }
      },
    };
  };
}

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
  [iced.Mnemonic.Mul, multiply(false)],
  [iced.Mnemonic.Div, divide(false)],
  [iced.Mnemonic.Idiv, divide(true)],
  [iced.Mnemonic.Cbw, extendAccumulator(1, 2)],
  [iced.Mnemonic.Cwde, extendAccumulator(2, 4)],
  [iced.Mnemonic.Cdqe, extendAccumulator(4, 8)],
  [iced.Mnemonic.Cwd, signIntoData(2)],
  [iced.Mnemonic.Cdq, signIntoData(4)],
  [iced.Mnemonic.Cqo, signIntoData(8)],
]);
