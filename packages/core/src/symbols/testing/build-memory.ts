// Made-up kernel memory for tests: written piece by piece, absent where nothing was written.
import { formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import type { AddressReader } from "../reader.ts";

const PAGE = 4096n;

export class FixtureMemory implements AddressReader {
  private readonly pages = new Map<bigint, Uint8Array>();

  read(address: VirtualAddress, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; ) {
      const at = address + BigInt(i);
      const page = this.pages.get(at / PAGE);
      if (page === undefined) throw new AddressError(at, "page", `${formatAddress(at)} is not there`);
      const start = Number(at % PAGE);
      const take = Math.min(length - i, Number(PAGE) - start);
      out.set(page.subarray(start, start + take), i);
      i += take;
    }
    return out;
  }

  bytes(address: bigint, bytes: Uint8Array | readonly number[]): this {
    for (const [i, byte] of bytes.entries())
      this.page(address + BigInt(i))[Number((address + BigInt(i)) % PAGE)] = byte;
    return this;
  }

  /** Little-endian numbers of 8 bytes, one behind the other. */
  u64(address: bigint, ...values: bigint[]): this {
    values.forEach((value, i) => {
      const wrapped = BigInt.asUintN(64, value);
      const bytes = Array.from({ length: 8 }, (_, k) => Number((wrapped >> BigInt(8 * k)) & 255n));
      this.bytes(address + BigInt(8 * i), bytes);
    });
    return this;
  }

  u32(address: bigint, ...values: number[]): this {
    values.forEach((value, i) => {
      this.bytes(address + BigInt(4 * i), [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24]);
    });
    return this;
  }

  /** With its NUL. */
  text(address: bigint, text: string): this {
    return this.bytes(address, [...new TextEncoder().encode(text), 0]);
  }

  /** A circular list through the given nodes, head first. */
  list(...nodes: bigint[]): this {
    nodes.forEach((node, i) => {
      this.u64(node, nodes[(i + 1) % nodes.length], nodes[(i + nodes.length - 1) % nodes.length]);
    });
    return this;
  }

  private page(address: bigint): Uint8Array {
    let page = this.pages.get(address / PAGE);
    if (page === undefined) {
      page = new Uint8Array(Number(PAGE));
      this.pages.set(address / PAGE, page);
    }
    return page;
  }
}
