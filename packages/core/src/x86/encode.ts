// The few instruction encodings that patching writes: near calls and jumps. All positions are KernelOffsets, so
// that displacements are plain number arithmetic modulo 2^32.
import type { KernelOffset } from "../bytes/brand.ts";

export const CALL = 0xe8;
export const JMP32 = 0xe9;
export const JMP8 = 0xeb;
export const RET = 0xc3;
export const INT3 = 0xcc;

/** `CALL target` or `JMP target` (5 bytes) for an instruction that stands at `at`. */
export function branch32(opcode: number, at: KernelOffset, target: KernelOffset): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = opcode;
  putI32(bytes, 1, target - (at + 5));
  return bytes;
}

/** The s32 at `index`. */
export function getI32(bytes: Uint8Array, index: number): number {
  return bytes[index] | (bytes[index + 1] << 8) | (bytes[index + 2] << 16) | (bytes[index + 3] << 24);
}

/** Stores the low 32 bits of `value`. */
export function putI32(bytes: Uint8Array, index: number, value: number): void {
  bytes[index] = value & 0xff;
  bytes[index + 1] = (value >> 8) & 0xff;
  bytes[index + 2] = (value >> 16) & 0xff;
  bytes[index + 3] = (value >> 24) & 0xff;
}

/** Where a rel32 stored at `index` of an instruction ending at `end` (KernelOffset) leads: end + displacement. */
export function rel32Target(bytes: Uint8Array, index: number, end: KernelOffset): KernelOffset {
  return end + getI32(bytes, index);
}

/** True for the second opcode byte of Jcc rel32 (0f 80 … 0f 8f). */
export function isJcc32(bytes: Uint8Array, index: number): boolean {
  return bytes[index] === 0x0f && (bytes[index + 1] & 0xf0) === 0x80;
}

/** "e8 74 c3 5d e1" */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
