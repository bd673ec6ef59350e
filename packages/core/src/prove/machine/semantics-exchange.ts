// XCHG, XADD and the compare-and-exchange family: what locks are made of.
import * as iced from "iced-x86";
import type { Builder, Semantics } from "./effects.ts";
import { add, setFlags, subtract } from "./flags.ts";
import { accessesOf, operandOf } from "./operands.ts";
import {
  type CpuRegisterFile,
  MASK64,
  maskOf,
  RAX,
  RBX,
  RCX,
  RDX,
  readRegister,
  type Size,
  writeRegister,
  ZF,
} from "./registers.ts";

/** With a memory operand XCHG is locked, prefix or not. */
const xchg: Builder = (instruction, where) => {
  const first = operandOf(instruction, 0, where);
  const second = operandOf(instruction, 1, where);
  return {
    accesses: [...accessesOf(first, "locked"), ...accessesOf(second, "locked")],
    run: (cpu, bus) => {
      const at0 = first.address(cpu);
      const at1 = second.address(cpu);
      const a = first.load(cpu, bus, at0);
      const b = second.load(cpu, bus, at1);
      first.store(cpu, bus, at0, b);
      second.store(cpu, bus, at1, a);
    },
  };
};

const xadd: Builder = (instruction, where) => {
  const dst = operandOf(instruction, 0, where);
  const src = operandOf(instruction, 1, where);
  return {
    accesses: accessesOf(dst, instruction.hasLockPrefix ? "locked" : "load-store"),
    run: (cpu, bus) => {
      const at = dst.address(cpu);
      const old = dst.load(cpu, bus, at);
      const sum = add(cpu, old, src.load(cpu, bus, 0n), 0n, dst.size);
      src.store(cpu, bus, 0n, old);
      dst.store(cpu, bus, at, sum);
    },
  };
};

/** A memory destination is written either way (with its own value on failure), as the processor's locked cycle does. */
const cmpxchg: Builder = (instruction, where) => {
  const dst = operandOf(instruction, 0, where);
  const src = operandOf(instruction, 1, where);
  return {
    accesses: accessesOf(dst, instruction.hasLockPrefix ? "locked" : "load-store"),
    run: (cpu, bus) => {
      const at = dst.address(cpu);
      const old = dst.load(cpu, bus, at);
      const expected = readRegister(cpu, RAX, dst.size, false);
      subtract(cpu, expected, old, 0n, dst.size);
      if (expected === old) {
        dst.store(cpu, bus, at, src.load(cpu, bus, 0n));
      } else {
        if (dst.kind === "memory") dst.store(cpu, bus, at, old);
        writeRegister(cpu, RAX, dst.size, false, old);
      }
    },
  };
};

/** CMPXCHG8B (half 4) and CMPXCHG16B (half 8): compares DX:AX, writes CX:BX. */
function cmpxchgWide(half: Size): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const shift = BigInt(half * 8);
    const pair = (cpu: CpuRegisterFile, high: number, low: number): bigint =>
      (readRegister(cpu, high, half, false) << shift) | readRegister(cpu, low, half, false);
    return {
      accesses: accessesOf(dst, instruction.hasLockPrefix ? "locked" : "load-store"),
      run: (cpu, bus) => {
        const at = dst.address(cpu);
        const old = dst.load(cpu, bus, at);
        const equal = old === pair(cpu, RDX, RAX);
        setFlags(cpu, ZF, equal ? ZF : 0);
        dst.store(cpu, bus, at, equal ? pair(cpu, RCX, RBX) : old);
        if (!equal) {
          writeRegister(cpu, RAX, half, false, old & maskOf(half));
          writeRegister(cpu, RDX, half, false, (old >> shift) & MASK64);
        }
      },
    };
  };
}

export const EXCHANGE_SEMANTICS: Semantics = new Map<iced.Mnemonic, Builder>([
  [iced.Mnemonic.Xchg, xchg],
  [iced.Mnemonic.Xadd, xadd],
  [iced.Mnemonic.Cmpxchg, cmpxchg],
  [iced.Mnemonic.Cmpxchg8b, cmpxchgWide(4)],
  [iced.Mnemonic.Cmpxchg16b, cmpxchgWide(8)],
]);
