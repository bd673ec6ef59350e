// Byte sequences that boot-time patching writes. Stated here on their own, from the instruction set's manual and
// the kernel's nop tables, so that the specimen is evidence and not an echo of the code that it tests.
import { hex, le32 } from "../bytes.ts";
import type { Machine } from "../object/unit.ts";

const P6 = ["", "90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000"];

/** The P6 nops that x86-64 kernels use, longest first (x86_nops, arch/x86/kernel/alternative.c). */
export function nops(length: number): Uint8Array {
  let text = "";
  for (let left = length; left > 0; left -= Math.min(left, 8)) text += P6[Math.min(left, 8)];
  return hex(text);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((p) => [...p]));
}

/** One-byte opcode with a rel32 that reaches `target` from an instruction at `at`. */
export function near(opcode: number, at: bigint, target: bigint): Uint8Array {
  return concat(Uint8Array.of(opcode), le32(Number(BigInt.asIntN(32, target - at - 5n))));
}

/** `call symbol` at `at`. */
export function callTo(m: Pick<Machine, "address">, at: bigint, symbol: string): Uint8Array {
  return near(0xe8, at, m.address(symbol));
}

/** `jmp symbol` (rel32) at `at`. */
export function jumpTo(m: Machine, at: bigint, symbol: string): Uint8Array {
  return near(0xe9, at, m.address(symbol));
}

/** Bytes of a near call. */
export const NEAR_CALL = 5;

/** `ret` and four int3: what a return site becomes without return thunks. */
export const BARE_RETURN = hex("c3cccccccc");
