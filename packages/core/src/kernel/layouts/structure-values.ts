// A structure in memory, member by member, with values as a person reads them: what a type table can tell of a scalar,
// a pointer, a text, an enum; nested structures are opened.
import { addressAdd, formatAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Member } from "../../symbols/types.ts";
import type { Kernel } from "../kernel.ts";
import { describeAddress } from "../where.ts";

export interface MemberValue {
  /** "list.next", "mem[0].base" */
  readonly path: string;
  /** bytes from the structure's start */
  readonly offset: number;
  readonly size: number;
  readonly typeName: string;
  readonly bitOffset?: number;
  readonly bitSize?: number;
  /** undefined when it is not in the dump */
  readonly value: string | undefined;
}

export interface StructureValues {
  readonly members: readonly MemberValue[];
  /** members beyond the limit */
  readonly leftOut: number;
}

/** Members that are told, nesting that is followed, and array elements that are opened. */
const MAX_MEMBERS = 2000;
const MAX_DEPTH = 6;
const MAX_ELEMENTS = 16;
/** Bytes of an array that are looked at, and shown. */
const MAX_READ = 4096;
const MAX_BYTES = 32;
/** Of a text that is pointed to. */
const MAX_TEXT = 256;

/** @param path the member of `type` that is shown; all of it without one */
export function structureValues(kernel: Kernel, address: VirtualAddress, type: string, path?: string): StructureValues {
  const members: MemberValue[] = [];
  let leftOut = 0;
  const one = (name: string, member: Member): void => {
    if (members.length >= MAX_MEMBERS) leftOut++;
    else members.push({ path: name, ...member, value: memberValue(kernel, address, member) });
  };
  const open = (at: string | undefined, depth: number): boolean => {
    const inner = depth > MAX_DEPTH || leftOut > 0 ? undefined : kernel.types.members(type, at);
    if (inner === undefined || inner.length === 0) return false;
    for (const { name, ...member } of inner) {
      const full = at === undefined ? name : `${at}.${name}`;
      const elements = Math.min(member.count ?? 0, MAX_ELEMENTS);
      if (member.count === undefined ? open(full, depth + 1) : elements > 0 && open(`${full}[0]`, depth + 1)) {
        for (let i = 1; i < elements; i++) open(`${full}[${i}]`, depth + 1);
      } else one(full, member);
    }
    return true;
  };
  if (!open(path, 0)) {
    const member = path === undefined ? undefined : kernel.types.member(type, path);
    const size = kernel.types.sizeOf(type) ?? 0;
    one(path ?? type, member ?? { offset: 0, size, typeName: type });
  }
  return { members, leftOut };
}

const SIGNED =
  /^(signed |(long |short )*int$|(long )+int$|long$|short$|char$|signed char$|[_]*s(8|16|32|64)$|ssize_t$|pid_t$|loff_t$|ktime_t$|time64_t$|int(8|16|32|64)_t$)/;

function memberValue(kernel: Kernel, address: VirtualAddress, member: Member): string | undefined {
  const { size, typeName } = member;
  const at = addressAdd(address, member.offset);
  if (size === 0) return "";
  const bytes = kernel.memory.tryRead(at, Math.min(size, MAX_READ));
  if (bytes === undefined) return undefined;
  if (/^char\[\d+\]$/.test(typeName)) return textOf(bytes);
  if (![1, 2, 4, 8].includes(size) || member.count !== undefined) return hexOf(bytes, size);
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
  if (/^(const )?char \*$/.test(typeName)) return [pointerText(kernel, value), ...stringAt(kernel, value)].join(" ");
  if (typeName.endsWith("*") || typeName.includes("(*)")) return pointerText(kernel, value);
  let bits = size * 8;
  if (member.bitSize !== undefined) {
    bits = member.bitSize;
    value = (value >> BigInt((member.bitOffset ?? 0) % (size * 8))) & ((1n << BigInt(bits)) - 1n);
  }
  if (typeName.startsWith("enum ")) {
    const known = kernel.types.enumerators(typeName) ?? new Map<string, bigint>();
    const name = [...known].find(([, number]) => BigInt.asUintN(bits, number) === value)?.[0];
    return name === undefined ? value.toString() : `${name} (${value})`;
  }
  if (typeName === "_Bool" || typeName === "bool")
    return value === 0n ? "false" : value === 1n ? "true" : value.toString();
  const signed = SIGNED.test(typeName) ? BigInt.asIntN(bits, value) : value;
  if (size === 8 && value >= 0xffff800000000000n && signed === value) return pointerText(kernel, value);
  return signed > -10n && signed < 10n ? signed.toString() : `${signed} (0x${value.toString(16)})`;
}

function pointerText(kernel: Kernel, value: bigint): string {
  if (value === 0n) return "NULL";
  const address = virtualAddress(value);
  const near = value >= 0xffffffff80000000n ? kernel.allSymbols.nearest(address) : undefined;
  // Far behind a symbol lies something that has none.
  const named = near !== undefined && near.offset < (near.size ?? 4096);
  return named ? `${formatAddress(value)} ${describeAddress(kernel, address)}` : formatAddress(value);
}

/** The text that a char * of the kernel points to, as far as a person reads it; none for what is no text. */
function stringAt(kernel: Kernel, value: bigint): string[] {
  if (value < 1n << 63n) return [];
  const bytes = new Uint8Array(MAX_TEXT);
  let length = MAX_TEXT;
  kernel.memory.readPresent(virtualAddress(value), bytes, (offset) => {
    length = Math.min(length, offset);
  });
  const end = bytes.indexOf(0);
  const whole = end >= 0 && end < length;
  const text = bytes.subarray(0, whole ? end : length);
  if ((text.length === 0 && !whole) || text.some((byte) => byte < 0x09 || byte >= 0x7f)) return [];
  return [`${textOf(text)}${whole ? "" : "…"}`];
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return JSON.stringify(String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end))));
}

function hexOf(bytes: Uint8Array, size: number): string {
  if (size === bytes.length && bytes.every((byte) => byte === 0)) return "all zero";
  const hex = Array.from(bytes.subarray(0, MAX_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return size > MAX_BYTES ? `${hex} …` : hex;
}
