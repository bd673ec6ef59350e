// Arithmetic flags as the processor computes them. Flags that the manuals call undefined get one fixed value (the one
// that processors show), so that runs are repeatable; code whose result depended on them would be broken anyway.
import { AF, ARITHMETIC, CF, type CpuRegisterFile, maskOf, OF, PF, SF, type Size, ZF } from "./registers.ts";

const PARITY = new Uint8Array(256);
for (let i = 0; i < 256; i++) {
  let ones = 0;
  for (let v = i; v !== 0; v >>= 1) ones += v & 1;
  PARITY[i] = ones % 2 === 0 ? PF : 0;
}

const SIGNS: Record<Size, bigint> = { 1: 1n << 7n, 2: 1n << 15n, 4: 1n << 31n, 8: 1n << 63n, 16: 1n << 127n };

export function signBit(size: Size): bigint {
  return SIGNS[size];
}

/** SF, ZF and PF of a result. */
export function resultFlags(result: bigint, size: Size): number {
  return (result === 0n ? ZF : 0) | ((result & signBit(size)) !== 0n ? SF : 0) | PARITY[Number(result & 0xffn)];
}

export function setFlags(cpu: CpuRegisterFile, which: number, value: number): void {
  cpu.flags = (cpu.flags & ~which) | (value & which);
}

/** a + b + carry; sets all arithmetic flags, or all but CF for INC. */
export function add(cpu: CpuRegisterFile, a: bigint, b: bigint, carry: bigint, size: Size, which = ARITHMETIC): bigint {
  const sum = a + b + carry;
  const result = sum & maskOf(size);
  const flags =
    resultFlags(result, size) |
    (sum > maskOf(size) ? CF : 0) |
    (((a ^ result) & (b ^ result) & signBit(size)) !== 0n ? OF : 0) |
    (((a ^ b ^ result) & 0x10n) !== 0n ? AF : 0);
  setFlags(cpu, which, flags);
  return result;
}

/** a - b - borrow; sets all arithmetic flags, or all but CF for DEC. */
export function subtract(
  cpu: CpuRegisterFile,
  a: bigint,
  b: bigint,
  borrow: bigint,
  size: Size,
  which = ARITHMETIC,
): bigint {
  const result = (a - b - borrow) & maskOf(size);
  const flags =
    resultFlags(result, size) |
    (a < b + borrow ? CF : 0) |
    (((a ^ b) & (a ^ result) & signBit(size)) !== 0n ? OF : 0) |
    (((a ^ b ^ result) & 0x10n) !== 0n ? AF : 0);
  setFlags(cpu, which, flags);
  return result;
}

/** Flags of AND, OR, XOR, TEST. */
export function logic(cpu: CpuRegisterFile, result: bigint, size: Size): bigint {
  setFlags(cpu, ARITHMETIC, resultFlags(result, size));
  return result;
}

/** Sign-extends `size` bytes to a bigint that may be negative. */
export function signed(value: bigint, size: Size): bigint {
  return BigInt.asIntN(size * 8, value);
}
