// The registers of one model CPU. Values are bigints in a BigUint64Array: the machine runs each local state once, so
// that clarity wins over speed here; the explorer's hot loop never sees a register.
import { UnsupportedError } from "../../bytes/errors.ts";
import { REGISTER_NAMES, type RegisterName } from "../../x86/register-names.ts";

/** The processor's own number of a register: RAX 0, RCX 1, RDX 2, RBX 3, RSP 4 … */
export function registerNumber(name: RegisterName): number {
  return REGISTER_NAMES.indexOf(name);
}

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

export const CF = 0x1;
export const PF = 0x4;
export const AF = 0x10;
export const ZF = 0x40;
export const SF = 0x80;
export const IF = 0x200;
export const DF = 0x400;
export const OF = 0x800;
/** RFLAGS.AC, which CLAC/STAC (SMAP) change. */
export const AC = 0x40000;
/** The six flags that arithmetic writes. */
export const ARITHMETIC = CF | PF | AF | ZF | SF | OF;
/** The flags the model keeps; bit 1 of RFLAGS always reads as one. */
export const KEPT = ARITHMETIC | IF | DF | AC;

export const MASK64 = 0xffff_ffff_ffff_ffffn;

/** An operand's size in bytes. */
export type Size = 1 | 2 | 4 | 8 | 16;

const MASKS: Record<Size, bigint> = { 1: 0xffn, 2: 0xffffn, 4: 0xffff_ffffn, 8: MASK64, 16: (1n << 128n) - 1n };

/** All ones of `size` bytes. */
export function maskOf(size: Size): bigint {
  return MASKS[size];
}

/** A size as the decoder gave it. @throws UnsupportedError for the sizes no integer operand has */
export function operandSize(bytes: number, where: string): Size {
  if (bytes === 1 || bytes === 2 || bytes === 4 || bytes === 8 || bytes === 16) return bytes;
  throw new UnsupportedError(where, `an operand of ${bytes} bytes`);
}

/** Architectural state of one CPU. */
export class CpuRegisterFile {
  readonly general = new BigUint64Array(16);
  rip = 0n;
  flags = 0;
  constructor(readonly gsBase: bigint) {}
}

/** Reads `size` bytes of register `number`; `high` is AH, CH, DH, BH. */
export function readRegister(cpu: CpuRegisterFile, number: number, size: Size, high: boolean): bigint {
  const whole = cpu.general[number];
  if (size === 8) return whole;
  return (high ? whole >> 8n : whole) & MASKS[size];
}

/** Writes a register as the processor does: 32 bits clear the upper half, 8 and 16 bits leave the rest alone. */
export function writeRegister(cpu: CpuRegisterFile, number: number, size: Size, high: boolean, value: bigint): void {
  if (size >= 4) {
    cpu.general[number] = value & MASKS[size];
  } else if (high) {
    cpu.general[number] = (cpu.general[number] & ~0xff00n & MASK64) | ((value & 0xffn) << 8n);
  } else {
    cpu.general[number] = (cpu.general[number] & ~MASKS[size] & MASK64) | (value & MASKS[size]);
  }
}
