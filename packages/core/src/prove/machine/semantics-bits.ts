// Shifts, rotates, bit tests, bit scans and byte swaps.
import * as iced from "iced-x86";
import { type Builder, convert, type Semantics } from "./effects.ts";
import { resultFlags, setFlags, signBit, signed } from "./flags.ts";
import { accessesOf, operandOf } from "./operands.ts";
import type { Access } from "./operation.ts";
import { ARITHMETIC, CF, type CpuRegisterFile, MASK64, maskOf, OF, type Size, ZF } from "./registers.ts";

const bitsOf = (size: Size): bigint => BigInt(size * 8);

/** `count` is already masked and not zero. */
type Shift = (cpu: CpuRegisterFile, a: bigint, count: bigint, size: Size) => bigint;

/** The count is masked to 5 bits, or 6 for 64-bit operands; a count of zero leaves the flags alone. */
function shift(f: Shift): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const count = operandOf(instruction, 1, where);
    const mask = dst.size === 8 ? 63n : 31n;
    return {
      accesses: accessesOf(dst, "load-store"),
      run: (cpu, bus) => {
        const at = dst.address(cpu);
        const n = count.load(cpu, bus, 0n) & mask;
        const a = dst.load(cpu, bus, at);
        dst.store(cpu, bus, at, n === 0n ? a : f(cpu, a, n, dst.size));
      },
    };
  };
}

const shl: Shift = (cpu, a, n, size) => {
  const result = (a << n) & maskOf(size);
  const carry = n <= bitsOf(size) && ((a >> (bitsOf(size) - n)) & 1n) !== 0n;
  const sign = (result & signBit(size)) !== 0n;
  setFlags(cpu, ARITHMETIC, resultFlags(result, size) | (carry ? CF : 0) | (carry !== sign ? OF : 0));
  return result;
};

const shr: Shift = (cpu, a, n, size) => {
  const result = a >> n;
  const carry = ((a >> (n - 1n)) & 1n) !== 0n;
  const overflow = (a & signBit(size)) !== 0n;
  setFlags(cpu, ARITHMETIC, resultFlags(result, size) | (carry ? CF : 0) | (overflow ? OF : 0));
  return result;
};

const sar: Shift = (cpu, a, n, size) => {
  const wide = signed(a, size);
  const result = (wide >> n) & maskOf(size);
  const carry = ((wide >> (n - 1n)) & 1n) !== 0n;
  setFlags(cpu, ARITHMETIC, resultFlags(result, size) | (carry ? CF : 0));
  return result;
};

const rol: Shift = (cpu, a, count, size) => {
  const n = count % bitsOf(size);
  const result = ((a << n) | (a >> (bitsOf(size) - n))) & maskOf(size);
  const carry = (result & 1n) !== 0n;
  const sign = (result & signBit(size)) !== 0n;
  setFlags(cpu, CF | OF, (carry ? CF : 0) | (carry !== sign ? OF : 0));
  return result;
};

const ror: Shift = (cpu, a, count, size) => {
  const n = count % bitsOf(size);
  const result = ((a >> n) | (a << (bitsOf(size) - n))) & maskOf(size);
  const sign = (result & signBit(size)) !== 0n;
  const below = (result & (signBit(size) >> 1n)) !== 0n;
  setFlags(cpu, CF | OF, (sign ? CF : 0) | (sign !== below ? OF : 0));
  return result;
};

/**
 * BT, BTS, BTR, BTC. With a register as bit number the memory form reaches beyond its operand: the bit number is signed
 * and selects the unit, as the bit strings of the kernel's `lock bts` on bitmaps need it.
 */
function bitTest(change: ((value: bigint, bit: bigint) => bigint) | undefined): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const index = operandOf(instruction, 1, where);
    const size = dst.size;
    const bits = bitsOf(size);
    const string = dst.kind === "memory" && index.kind === "register";
    const address = (cpu: CpuRegisterFile): bigint => {
      const at = dst.address(cpu);
      if (!string) return at;
      const bit = signed(index.load(cpu, NO_BUS, 0n), size);
      return (at + (bit >> BigInt(Math.log2(size * 8))) * BigInt(size)) & MASK64;
    };
    const kind = change === undefined ? "load" : instruction.hasLockPrefix ? "locked" : "load-store";
    const accesses: Access[] = dst.kind === "memory" ? [{ kind, size, address }] : [];
    return {
      accesses,
      run: (cpu, bus) => {
        const at = address(cpu);
        const bit = index.load(cpu, bus, 0n) & (bits - 1n);
        const value = dst.load(cpu, bus, at);
        setFlags(cpu, CF, ((value >> bit) & 1n) !== 0n ? CF : 0);
        if (change !== undefined) dst.store(cpu, bus, at, change(value, 1n << bit) & maskOf(size));
      },
    };
  };
}

/** A register operand never touches the bus. */
const NO_BUS = { load: (): bigint => 0n, store: (): void => {} };

function lowestBit(value: bigint): bigint {
  let bit = 0n;
  while (((value >> bit) & 1n) === 0n) bit++;
  return bit;
}

function bitLength(value: bigint): bigint {
  return value === 0n ? 0n : BigInt(value.toString(2).length);
}

function popcount(value: bigint): bigint {
  let ones = 0n;
  for (let v = value; v !== 0n; v &= v - 1n) ones++;
  return ones;
}

/** BSF and BSR: ZF tells of a zero source, which leaves the destination as it was (as all processors do). */
function scan(f: (value: bigint) => bigint): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const src = operandOf(instruction, 1, where);
    return {
      accesses: accessesOf(src, "load"),
      run: (cpu, bus) => {
        const value = src.load(cpu, bus, src.address(cpu));
        setFlags(cpu, ZF, value === 0n ? ZF : 0);
        if (value !== 0n) dst.store(cpu, bus, 0n, f(value));
      },
    };
  };
}

/** TZCNT and LZCNT: CF for a zero source, ZF for a zero result. */
function count(f: (value: bigint, size: Size) => bigint): Builder {
  return convert((value, from, _to, cpu) => {
    const result = f(value, from);
    setFlags(cpu, CF | ZF, (value === 0n ? CF : 0) | (result === 0n ? ZF : 0));
    return result;
  });
}

const bswap: Builder = (instruction, where) => {
  const dst = operandOf(instruction, 0, where);
  return {
    accesses: [],
    run: (cpu, bus) => {
      let value = dst.load(cpu, bus, 0n);
      let result = 0n;
      for (let i = 0; i < dst.size; i++) {
        result = (result << 8n) | (value & 0xffn);
        value >>= 8n;
      }
      dst.store(cpu, bus, 0n, result);
    },
  };
};

export const BIT_SEMANTICS: Semantics = new Map<iced.Mnemonic, Builder>([
  [iced.Mnemonic.Shl, shift(shl)],
  [iced.Mnemonic.Sal, shift(shl)],
  [iced.Mnemonic.Shr, shift(shr)],
  [iced.Mnemonic.Sar, shift(sar)],
  [iced.Mnemonic.Rol, shift(rol)],
  [iced.Mnemonic.Ror, shift(ror)],
  [iced.Mnemonic.Bt, bitTest(undefined)],
  [iced.Mnemonic.Bts, bitTest((value, bit) => value | bit)],
  [iced.Mnemonic.Btr, bitTest((value, bit) => value & ~bit)],
  [iced.Mnemonic.Btc, bitTest((value, bit) => value ^ bit)],
  [iced.Mnemonic.Bsf, scan(lowestBit)],
  [iced.Mnemonic.Bsr, scan((value) => bitLength(value) - 1n)],
  [iced.Mnemonic.Tzcnt, count((value, size) => (value === 0n ? bitsOf(size) : lowestBit(value)))],
  [iced.Mnemonic.Lzcnt, count((value, size) => bitsOf(size) - bitLength(value))],
  [
    iced.Mnemonic.Popcnt,
    convert((value, _from, _to, cpu) => {
      setFlags(cpu, ARITHMETIC, value === 0n ? ZF : 0);
      return popcount(value);
    }),
  ],
  [iced.Mnemonic.Bswap, bswap],
]);
