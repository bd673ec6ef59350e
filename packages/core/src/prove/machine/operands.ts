// Operands of a decoded instruction as small objects with the register numbers and address arithmetic resolved once.
import * as iced from "iced-x86";
import { formatAddress } from "../../bytes/brand.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import type { Access, AccessKind, Bus } from "./operation.ts";
import {
  type CpuRegisterFile,
  MASK64,
  maskOf,
  operandSize,
  readRegister,
  type Size,
  writeRegister,
} from "./registers.ts";

/** Something an instruction reads or writes. `at` is the value of `address` before the instruction; 0 for registers. */
export interface Operand {
  readonly kind: "register" | "memory" | "immediate";
  readonly size: Size;
  address(cpu: CpuRegisterFile): bigint;
  load(cpu: CpuRegisterFile, bus: Bus, at: bigint): bigint;
  store(cpu: CpuRegisterFile, bus: Bus, at: bigint, value: bigint): void;
}

const NO_ADDRESS = (): bigint => 0n;

export function registerOperand(number: number, size: Size, high = false): Operand {
  return {
    kind: "register",
    size,
    address: NO_ADDRESS,
    load: (cpu) => readRegister(cpu, number, size, high),
    store: (cpu, _bus, _at, value) => writeRegister(cpu, number, size, high, value),
  };
}

function immediateOperand(value: bigint, size: Size, where: string): Operand {
  const masked = value & maskOf(size);
  return {
    kind: "immediate",
    size,
    address: NO_ADDRESS,
    load: () => masked,
    store: () => {
      throw new UnsupportedError(where, "a store to an immediate");
    },
  };
}

function memoryOperand(size: Size, address: (cpu: CpuRegisterFile) => bigint): Operand {
  return {
    kind: "memory",
    size,
    address,
    load: (_cpu, bus, at) => bus.load(at, size),
    store: (_cpu, bus, at, value) => bus.store(at, size, value & maskOf(size)),
  };
}

interface RegisterShape {
  readonly number: number;
  readonly size: Size;
  readonly high: boolean;
}

/** A general register of iced's numbering. @throws UnsupportedError for vector, segment and control registers */
function generalRegister(register: iced.Register, where: string): RegisterShape {
  const size = iced.RegisterExt.size(register);
  const full = iced.RegisterExt.fullRegister(register);
  if (full < iced.Register.RAX || full > iced.Register.R15)
    throw new UnsupportedError(where, `register ${iced.Register[register]}`);
  const high = register >= iced.Register.AH && register <= iced.Register.BH;
  return { number: full - iced.Register.RAX, size: operandSize(size, where), high };
}

/** The effective address of the instruction's memory operand, segment base included. */
export function effectiveAddress(
  instruction: iced.Instruction,
  where: string,
  withSegment = true,
): (cpu: CpuRegisterFile) => bigint {
  const segment = instruction.memorySegment;
  const gs = withSegment && segment === iced.Register.GS;
  if (segment === iced.Register.FS) throw new UnsupportedError(where, "an FS-relative access");
  if (instruction.isIpRelMemoryOperand) {
    const fixed = instruction.ipRelMemoryAddress;
    return gs ? (cpu) => (cpu.gsBase + fixed) & MASK64 : () => fixed;
  }
  const displacement = instruction.memoryDisplacement & MASK64;
  const base =
    instruction.memoryBase === iced.Register.None ? undefined : generalRegister(instruction.memoryBase, where);
  const index =
    instruction.memoryIndex === iced.Register.None ? undefined : generalRegister(instruction.memoryIndex, where);
  if ((base && base.size !== 8) || (index && index.size !== 8))
    throw new UnsupportedError(where, "a 32-bit address in 64-bit code");
  const b = base?.number ?? -1;
  const i = index?.number ?? -1;
  const scale = BigInt(instruction.memoryIndexScale);
  return (cpu) => {
    let sum = displacement;
    if (b >= 0) sum += cpu.general[b];
    if (i >= 0) sum += cpu.general[i] * scale;
    if (gs) sum += cpu.gsBase;
    return sum & MASK64;
  };
}

/** Operand `index` of an instruction. Immediates take the size of operand 0. @throws UnsupportedError */
export function operandOf(instruction: iced.Instruction, index: number, where: string): Operand {
  const kind = instruction.opKind(index);
  switch (kind) {
    case iced.OpKind.Register: {
      const { number, size, high } = generalRegister(instruction.opRegister(index), where);
      return registerOperand(number, size, high);
    }
    case iced.OpKind.Memory:
      return memoryOperand(
        operandSize(iced.MemorySizeExt.size(instruction.memorySize), where),
        effectiveAddress(instruction, where),
      );
    case iced.OpKind.Immediate8:
    case iced.OpKind.Immediate16:
    case iced.OpKind.Immediate32:
    case iced.OpKind.Immediate64:
    case iced.OpKind.Immediate8to16:
    case iced.OpKind.Immediate8to32:
    case iced.OpKind.Immediate8to64:
    case iced.OpKind.Immediate32to64: {
      const size = index === 0 ? 8 : operandOf(instruction, 0, where).size;
      return immediateOperand(instruction.immediate(index), size, where);
    }
    default:
      throw new UnsupportedError(where, `operand kind ${iced.OpKind[kind]}`);
  }
}

/** The accesses of an operand: none for a register or an immediate. */
export function accessesOf(operand: Operand, kind: AccessKind): Access[] {
  return operand.kind === "memory" ? [{ kind, size: operand.size, address: operand.address }] : [];
}

/** "0xffffffff81000000" of an instruction, for messages. */
export function whereOf(instruction: iced.Instruction): string {
  return formatAddress(instruction.ip);
}
