// Kernel memory for tests: bytes put at addresses, everything else absent.

import { addressAdd, type PhysicalAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";

type Memory = Kernel["memory"];

export class FakeMemory implements Memory {
  readonly root = 0n as PhysicalAddress;
  readonly levels = 4;
  private readonly bytes = new Map<bigint, number>();

  /** Stores bytes. */
  put(address: bigint, bytes: ArrayLike<number>): this {
    for (let i = 0; i < bytes.length; i++) this.bytes.set(virtualAddress(address + BigInt(i)), bytes[i]);
    return this;
  }
  /** Stores a number as `size` little-endian bytes. */
  putNumber(address: bigint, value: bigint | number, size: number): this {
    const out = new Uint8Array(size);
    let rest = BigInt.asUintN(size * 8, BigInt(value));
    for (let i = 0; i < size; i++, rest >>= 8n) out[i] = Number(rest & 0xffn);
    return this.put(address, out);
  }
  put64(address: bigint, value: bigint | number): this {
    return this.putNumber(address, value, 8);
  }
  put32(address: bigint, value: number): this {
    return this.putNumber(address, value, 4);
  }
  text(address: bigint, text: string): this {
    return this.put(address, [...new TextEncoder().encode(text), 0]);
  }

  translate(address: VirtualAddress): ReturnType<Memory["translate"]> {
    const found = this.tryTranslate(address);
    if (found === undefined) throw new AddressError(address, "pte", "not mapped");
    return found;
  }
  tryTranslate(address: VirtualAddress): ReturnType<Memory["tryTranslate"]> {
    if (!this.bytes.has(virtualAddress(address))) return undefined;
    const physical = (address & 0xffffffffn) as PhysicalAddress;
    return { physical, pageSize: 4096, writable: true, executable: true, user: false };
  }
  read(address: VirtualAddress, length: number): Uint8Array {
    const out = this.tryRead(address, length);
    if (out === undefined) throw new AddressError(address, "page", "not in the dump");
    return out;
  }
  tryRead(address: VirtualAddress, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const byte = this.bytes.get(addressAdd(address, i));
      if (byte === undefined) return undefined;
      out[i] = byte;
    }
    return out;
  }
  readPresent(address: VirtualAddress, into: Uint8Array, absent: Parameters<Memory["readPresent"]>[2]): void {
    let gap = -1;
    for (let i = 0; i <= into.length; i++) {
      const byte = i < into.length ? this.bytes.get(addressAdd(address, i)) : 0;
      if (byte === undefined) {
        if (gap < 0) gap = i;
        continue;
      }
      if (gap >= 0) absent(gap, i - gap, undefined);
      gap = -1;
      if (i < into.length) into[i] = byte;
    }
  }
  private number(address: VirtualAddress, size: number): bigint {
    return this.read(address, size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }
  u8(address: VirtualAddress): number {
    return Number(this.number(address, 1));
  }
  u16(address: VirtualAddress): number {
    return Number(this.number(address, 2));
  }
  u32(address: VirtualAddress): number {
    return Number(this.number(address, 4));
  }
  i32(address: VirtualAddress): number {
    return this.u32(address) | 0;
  }
  u64(address: VirtualAddress): bigint {
    return this.number(address, 8);
  }
  pointer(address: VirtualAddress): VirtualAddress {
    return virtualAddress(this.u64(address));
  }
  cstring(address: VirtualAddress, max = 256): string {
    let out = "";
    for (let i = 0; i < max; i++) {
      const byte = this.u8(addressAdd(address, i));
      if (byte === 0) break;
      out += String.fromCharCode(byte);
    }
    return out;
  }
}
