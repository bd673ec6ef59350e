// The near branches that compilers write at patch sites, measured as the kernel's decoder does: prefixes count, so that
// clang's `cs jmp __x86_return_thunk` is 6 bytes long. By hand and not by iced-x86, since a kernel has 100,000 of them.
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32 } from "./encode.ts";

/** A relative branch, or RET, at the start of some bytes. */
export interface Branch {
  /** "jcc8" is 70 … 7f, "jcc" 0f 80 … 0f 8f, "jmp8" eb */
  readonly kind: "call" | "jmp" | "jcc" | "jmp8" | "jcc8" | "ret";
  /** bytes of the whole instruction, prefixes included */
  readonly length: number;
  /** bytes in front of the opcode */
  readonly prefixes: number;
  /** condition code of a Jcc (low four bits of its opcode), or -1 */
  readonly condition: number;
  /** what the branch adds to the address of the next instruction; 0 for RET */
  readonly displacement: number;
}

/** An x86 instruction is no longer. */
const LONGEST = 15;

const isPrefix = (byte: number): boolean =>
  byte === 0x2e ||
  byte === 0x3e ||
  byte === 0x26 ||
  byte === 0x36 ||
  (byte >= 0x64 && byte <= 0x67) ||
  byte === 0xf0 ||
  byte === 0xf2 ||
  byte === 0xf3;

/**
 * The branch at `bytes[at]`, or undefined when the instruction there is none or is cut off. Prefixes of a near branch do
 * not change its displacement: CALL and JMP rel32 are of 64-bit operand size always (insn_get_immediate() of
 * arch/x86/lib/insn.c, Jz with INAT_FORCE64).
 */
export function branchAt(bytes: Uint8Array, at = 0): Branch | undefined {
  let i = at;
  while (i < bytes.length && isPrefix(bytes[i])) i++;
  if (i < bytes.length && (bytes[i] & 0xf0) === 0x40) i++;
  const prefixes = i - at;
  if (i >= bytes.length) return undefined;
  const opcode = bytes[i];
  const branch = (kind: Branch["kind"], opcodeSize: number, size: number, condition = -1): Branch | undefined => {
    const end = i + opcodeSize + size;
    if (end > bytes.length || end - at > LONGEST) return undefined;
    const displacement =
      size === 4 ? getI32(bytes, i + opcodeSize) : size === 1 ? (bytes[i + opcodeSize] << 24) >> 24 : 0;
    return { kind, length: end - at, prefixes, condition, displacement };
  };
  if (opcode === 0xe8) return branch("call", 1, 4);
  if (opcode === 0xe9) return branch("jmp", 1, 4);
  if (opcode === 0xeb) return branch("jmp8", 1, 1);
  if (opcode === 0xc3) return branch("ret", 1, 0);
  if ((opcode & 0xf0) === 0x70) return branch("jcc8", 1, 1, opcode & 0xf);
  if (opcode === 0x0f && i + 1 < bytes.length && (bytes[i + 1] & 0xf0) === 0x80)
    return branch("jcc", 2, 4, bytes[i + 1] & 0xf);
  return undefined;
}

/** Where the branch that stands at `at` leads. */
export function branchEnd(branch: Branch, at: KernelOffset): KernelOffset {
  return at + branch.length + branch.displacement;
}

/** Most bytes that `branchAt` looks at. */
export const LONGEST_BRANCH = LONGEST;
