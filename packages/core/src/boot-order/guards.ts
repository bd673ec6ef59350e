// What a function asks before it makes a call: the variable whose test jumps over it. Told to the reader, who knows
// whether a kernel was booted that way; nothing is concluded from it.
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32, isJcc32 } from "../x86/encode.ts";
import { opcodeIndex } from "../x86/instructions.ts";
import { memoryOperand } from "./events.ts";
import type { Program } from "./program.ts";

/** cmp and test with a memory operand: cmp r/m, imm; cmp r, r/m and back; test r/m, r; test r/m, imm. */
const COMPARES = new Set([0x80, 0x81, 0x83, 0x38, 0x39, 0x3a, 0x3b, 0x84, 0x85, 0xf6, 0xf7]);
/** Group 1's cmp, group 3's test. */
const OPERATION: Readonly<Record<number, number>> = { 128: 7, 129: 7, 131: 7, 246: 0, 247: 0 };

/** Addresses of the variables whose comparison is followed by a branch over the instruction at `at`. */
export function testsBefore({ image, events }: Program, index: number, at: KernelOffset): KernelOffset[] {
  const section = image.section(image.functions[index]);
  if (section === undefined) return [];
  const { bytes, start: base } = section;
  const out = new Set<KernelOffset>();
  let compared: KernelOffset | undefined;
  events.instructions(image.functions[index], at, (place, length) => {
    const from = place - base;
    const op = opcodeIndex(bytes, from);
    const opcode = bytes[op];
    const next = place + length;
    const target =
      (opcode & 0xf0) === 0x70
        ? next + ((bytes[op + 1] << 24) >> 24)
        : isJcc32(bytes, op)
          ? next + getI32(bytes, op + 2)
          : undefined;
    if (target !== undefined) {
      if (compared !== undefined && target > at) out.add(compared);
      return;
    }
    compared = undefined;
    const operation = (bytes[op + 1] >> 3) & 7;
    if (!COMPARES.has(opcode) || (OPERATION[opcode] ?? operation) !== operation) return;
    const rex = op > from && (bytes[op - 1] & 0xf0) === 0x40 ? bytes[op - 1] : 0;
    const memory = memoryOperand(bytes, from, op, rex, next);
    if (memory.kind === "fixed" && image.section(memory.address) !== undefined) compared = memory.address;
  });
  return [...out];
}
