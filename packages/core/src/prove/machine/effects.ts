// Makers of instruction effects by shape: two operands with a result, flags only, one operand, a plain copy. The
// semantics-*.ts tables say which mnemonic has which shape and function.
import type * as iced from "iced-x86";
import { accessesOf, operandOf } from "./operands.ts";
import type { Effect } from "./operation.ts";
import type { CpuRegisterFile, Size } from "./registers.ts";

/** Makes the effect of one instruction; `where` is its address for messages. @throws UnsupportedError */
export type Builder = (instruction: iced.Instruction, where: string) => Effect;
/** Mnemonic → how to build its effect. */
export type Semantics = ReadonlyMap<iced.Mnemonic, Builder>;

export type Binary = (cpu: CpuRegisterFile, a: bigint, b: bigint, size: Size) => bigint;
export type Unary = (cpu: CpuRegisterFile, a: bigint, size: Size) => bigint;

/** dst = f(dst, src). LOCK makes a memory destination one step. */
export function binary(f: Binary): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const src = operandOf(instruction, 1, where);
    return {
      accesses: [...accessesOf(dst, instruction.hasLockPrefix ? "locked" : "load-store"), ...accessesOf(src, "load")],
      run: (cpu, bus) => {
        const at = dst.address(cpu);
        const b = src.load(cpu, bus, src.address(cpu));
        dst.store(cpu, bus, at, f(cpu, dst.load(cpu, bus, at), b, dst.size));
      },
    };
  };
}

/** CMP and TEST: flags only. */
export function compare(f: Binary): Builder {
  return (instruction, where) => {
    const a = operandOf(instruction, 0, where);
    const b = operandOf(instruction, 1, where);
    return {
      accesses: [...accessesOf(a, "load"), ...accessesOf(b, "load")],
      run: (cpu, bus) => {
        f(cpu, a.load(cpu, bus, a.address(cpu)), b.load(cpu, bus, b.address(cpu)), a.size);
      },
    };
  };
}

/** dst = f(dst). */
export function unary(f: Unary): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    return {
      accesses: accessesOf(dst, instruction.hasLockPrefix ? "locked" : "load-store"),
      run: (cpu, bus) => {
        const at = dst.address(cpu);
        dst.store(cpu, bus, at, f(cpu, dst.load(cpu, bus, at), dst.size));
      },
    };
  };
}

/** dst = f(src): MOV and its extending forms, where the source may be narrower; bit counts, which also set flags. */
export function convert(f: (value: bigint, from: Size, to: Size, cpu: CpuRegisterFile) => bigint): Builder {
  return (instruction, where) => {
    const dst = operandOf(instruction, 0, where);
    const src = operandOf(instruction, 1, where);
    return {
      accesses: [...accessesOf(dst, "store"), ...accessesOf(src, "load")],
      run: (cpu, bus) => {
        const at = dst.address(cpu);
        dst.store(cpu, bus, at, f(src.load(cpu, bus, src.address(cpu)), src.size, dst.size, cpu));
      },
    };
  };
}
