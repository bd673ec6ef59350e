// Guarded reads for discovery, where every pointer is a guess until it has proved itself.
import { addressAdd, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import type { AddressReader } from "../reader.ts";
import type { SymbolTable } from "../types.ts";
import type { StructShape } from "./shape-types.ts";

const PAGE = 4096;
const latin1 = new TextDecoder("latin1");

export class Peek {
  constructor(private readonly reader: AddressReader) {}

  /** The bytes as a view of a copy, or undefined when one of them is absent. */
  view(address: bigint, length: number): DataView | undefined {
    if (!isKernelAddress(address)) return undefined;
    try {
      const bytes = this.reader.read(virtualAddress(address), length).slice();
      return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      if (error instanceof AddressError) return undefined;
      throw error;
    }
  }

  /** As `view`, cut at the first page that is absent. */
  upTo(address: bigint, length: number): DataView | undefined {
    for (let take = length; take > 0; ) {
      const view = this.view(address, take);
      if (view !== undefined) return view;
      const over = Number((address + BigInt(take)) % BigInt(PAGE));
      take -= over === 0 ? PAGE : over;
    }
    return undefined;
  }

  u64(address: bigint): bigint | undefined {
    return this.view(address, 8)?.getBigUint64(0, true);
  }

  /** A printable NUL-terminated string of 1 to `limit` bytes; undefined when there is none. */
  text(address: bigint, limit: number): string | undefined {
    const view = this.upTo(address, limit + 1);
    return view && textAt(view, 0, limit);
  }
}

/** A printable NUL-terminated string of 1 to `limit` bytes inside a view. */
export function textAt(view: DataView, offset: number, limit: number): string | undefined {
  const end = Math.min(view.byteLength, offset + limit + 1);
  for (let i = offset; i < end; i++) {
    const byte = view.getUint8(i);
    if (byte === 0) {
      if (i === offset) return undefined;
      return latin1.decode(new Uint8Array(view.buffer, view.byteOffset + offset, i - offset));
    }
    if (byte < 0x20 || byte > 0x7e) return undefined;
  }
  return undefined;
}

/** Where a kernel's memory is, with 5-level page tables from 0xff00… on; not one of the error values at its end. */
export function isKernelAddress(address: bigint): boolean {
  return address >= 0xff00000000000000n && address < 0xfffffffffffff000n;
}

export interface ListWalk {
  /** Addresses of the nodes, the head not among them. */
  readonly nodes: readonly bigint[];
  /** Every node's prev is the node before it, and the last leads back to the head. */
  readonly sound: boolean;
}

/** Follows a struct list_head, `limit` nodes at most; stops where it breaks. */
export function walkNodes(peek: Peek, head: bigint, limit: number): ListWalk {
  const nodes: bigint[] = [];
  let previous = head;
  let at = peek.u64(head);
  while (at !== undefined && at !== head && nodes.length < limit) {
    const node = peek.view(at, 16);
    if (node === undefined || node.getBigUint64(8, true) !== previous) return { nodes, sound: false };
    nodes.push(at);
    previous = at;
    at = node.getBigUint64(0, true);
  }
  return { nodes, sound: at === head };
}

/** What discovery starts from. */
export interface ShapeContext {
  readonly reader: AddressReader;
  readonly symbols: SymbolTable;
}

/** A structure, and what in the dump speaks for its layout, in words. */
export interface Discovered {
  readonly shapes: readonly StructShape[];
  readonly evidence: readonly string[];
}

export function symbolAddress(symbols: SymbolTable, name: string): VirtualAddress | undefined {
  return symbols.lookup(name)?.address;
}

export function offsetFrom(base: bigint, offset: number): VirtualAddress {
  return addressAdd(virtualAddress(base), offset);
}
