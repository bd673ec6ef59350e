// Small machine code for tests: a memory out of pieces of bytes, and encodings of the few instructions that litmus
// tests need, with absolute 32-bit addresses.
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import type { CodeMemory } from "../types.ts";

/** A memory of pieces; anything else is absent. */
export class PieceMemory implements CodeMemory {
  constructor(private readonly pieces: readonly { readonly address: bigint; readonly bytes: Uint8Array }[]) {}
  read(address: VirtualAddress, length: number): Uint8Array {
    for (const piece of this.pieces) {
      const offset = address - piece.address;
      if (offset >= 0n && offset + BigInt(length) <= BigInt(piece.bytes.length))
        return piece.bytes.slice(Number(offset), Number(offset) + length);
    }
    throw new AddressError(address, "page", "no such page in the test");
  }
}

/** "48 89 c3 # a comment" lines → bytes. */
export function bytesOf(hex: string): Uint8Array {
  const digits = hex
    .split("\n")
    .map((line) => line.replace(/#.*/, ""))
    .join(" ")
    .trim();
  return Uint8Array.from(digits === "" ? [] : digits.split(/\s+/), (byte) => Number.parseInt(byte, 16));
}

export interface Piece {
  readonly address: bigint;
  readonly hex: string;
}

/** Code and data pieces, each padded to a whole page of INT3 (code) by `fill`. */
export function memoryOf(pieces: readonly Piece[], fill = 0xcc): PieceMemory {
  return new PieceMemory(
    pieces.map(({ address, hex }) => {
      const bytes = bytesOf(hex);
      const page = new Uint8Array(Math.ceil((bytes.length + 16) / 4096) * 4096).fill(fill);
      page.set(bytes);
      return { address, bytes: page };
    }),
  );
}

/** Variables of litmus tests: one cell each, on a zeroed page. */
export const X = 0x1000;
export const Y = 0x1040;
export const Z = 0x1080;
export const VARIABLES: Piece = { address: 0x1000n, hex: "00 ".repeat(256) };

const EAX = 0;
export const R = { eax: 0, ecx: 1, edx: 2, ebx: 3, esi: 6, edi: 7 } as const;
export type R = (typeof R)[keyof typeof R];

const hex = (...bytes: number[]): string => bytes.map((b) => b.toString(16).padStart(2, "0")).join(" ");
const i32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);
const absolute = (register: number, address: number): number[] => [(register << 3) | 4, 0x25, ...i32(address)];

/** movl $value, address */
export const store = (address: number, value: number): string => hex(0xc7, ...absolute(0, address), ...i32(value));
/** movb $value, address */
export const store8 = (address: number, value: number): string => hex(0xc6, ...absolute(0, address), value);
/** movw $value, address */
export const store16 = (address: number, value: number): string =>
  hex(0x66, 0xc7, ...absolute(0, address), value & 0xff, value >> 8);
/** movl address, %register */
export const load = (register: R, address: number): string => hex(0x8b, ...absolute(register, address));
/** movl $value, %eax; xchgl %eax, address: locked without a prefix. EAX holds the old value afterwards. */
export const exchange = (address: number, value: number): string =>
  hex(0xb8, ...i32(value), 0x87, ...absolute(EAX, address));
/** movl $value, %register; lock xaddl %register, address */
export const fetchAdd = (register: R, address: number, value: number): string =>
  hex(0xb8 + register, ...i32(value), 0xf0, 0x0f, 0xc1, ...absolute(register, address));
/** incl address: without LOCK two steps */
export const increment = (address: number): string => hex(0xff, ...absolute(0, address));
/** lock incl address */
export const lockedIncrement = (address: number): string => hex(0xf0, 0xff, ...absolute(0, address));
export const mfence = "0f ae f0";
export const lfence = "0f ae e8";
export const sfence = "0f ae f8";
/** lock addl $0, (%rsp): the kernel's smp_mb() */
export const lockedStack = "f0 83 04 24 00";
export const ret = "c3";

/** A page-sized piece of the address where tests put the code of a CPU. */
export const codeAddress = (cpu: number): bigint => 0x10000n + BigInt(cpu) * 0x1000n;

export const address = (value: number): VirtualAddress => virtualAddress(BigInt(value));
