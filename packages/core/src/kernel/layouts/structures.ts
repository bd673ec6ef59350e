// Reads members of C structures in the dump by name, so that every layout comes from the type table and none from
// an offset in the code.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError } from "../../bytes/errors.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import type { Member, TypeTable } from "../../symbols/types.ts";

export class Structures {
  private readonly cache = new Map<string, Member | null>();

  constructor(
    readonly memory: VirtualMemory,
    readonly types: TypeTable,
  ) {}

  /** The member's place, or undefined when this kernel's structure has none of that name. */
  find(type: string, path: string): Member | undefined {
    const key = `${type}|${path}`;
    let member = this.cache.get(key);
    if (member === undefined) {
      member = this.types.member(type, path) ?? null;
      this.cache.set(key, member);
    }
    return member ?? undefined;
  }

  has(type: string, path: string): boolean {
    return this.find(type, path) !== undefined;
  }

  /** @throws MissingError when the structure or member is unknown */
  offset(type: string, path: string): number {
    const member = this.find(type, path);
    if (member === undefined) throw new MissingError(`the layout of ${type}.${path} in ${this.types.origin}`);
    return member.offset;
  }

  /** sizeof(type). @throws MissingError */
  size(type: string): number {
    const size = this.types.sizeOf(type);
    if (size === undefined) throw new MissingError(`the size of ${type} in ${this.types.origin}`);
    return size;
  }

  /** An unsigned scalar member of 1, 2, 4 or 8 bytes, bit fields included. */
  unsigned(base: VirtualAddress, type: string, path: string): bigint {
    const member = this.find(type, path);
    if (member === undefined) throw new MissingError(`the layout of ${type}.${path} in ${this.types.origin}`);
    const at = addressAdd(base, member.offset);
    let value: bigint;
    if (member.size === 1) value = BigInt(this.memory.u8(at));
    else if (member.size === 2) value = BigInt(this.memory.u16(at));
    else if (member.size === 4) value = BigInt(this.memory.u32(at));
    else value = this.memory.u64(at);
    if (member.bitSize !== undefined && member.bitOffset !== undefined) {
      value = (value >> BigInt(member.bitOffset % (member.size * 8))) & ((1n << BigInt(member.bitSize)) - 1n);
    }
    return value;
  }

  number(base: VirtualAddress, type: string, path: string): number {
    return Number(this.unsigned(base, type, path));
  }

  pointer(base: VirtualAddress, type: string, path: string): VirtualAddress {
    return this.memory.pointer(addressAdd(base, this.offset(type, path)));
  }

  /** A char array member as text. */
  text(base: VirtualAddress, type: string, path: string): string {
    const member = this.find(type, path);
    if (member === undefined) throw new MissingError(`the layout of ${type}.${path} in ${this.types.origin}`);
    return this.memory.cstring(addressAdd(base, member.offset), member.size);
  }
}
