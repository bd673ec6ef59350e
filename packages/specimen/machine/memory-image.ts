// A running kernel's memory under construction: allocators for the regions of x86-64's address space, and access to
// structures by member name.
import { ByteWriter, latin1 } from "../bytes.ts";
import type { CTypes } from "../types/c-types.ts";
import type { AddressSpace } from "./address-space.ts";
import { PAGE, type Ram } from "./physical.ts";

export interface Regions {
  /** page_offset_base */
  readonly direct: bigint;
  /** start of vmalloc space */
  readonly vmalloc: bigint;
  /** first module's address */
  readonly modules: bigint;
}

export class MemoryImage {
  private slab = 0n;
  private slabEnd = 0n;
  private nextVmalloc: bigint;
  private nextModule: bigint;

  constructor(
    readonly space: AddressSpace,
    readonly types: CTypes,
    readonly regions: Regions,
  ) {
    this.nextVmalloc = regions.vmalloc;
    this.nextModule = regions.modules;
  }

  get ram(): Ram {
    return this.space.ram;
  }

  direct(physical: number): bigint {
    return this.regions.direct + BigInt(physical);
  }

  /** Whole pages in the direct map, aligned to `align` pages. */
  pages(count: number, align = 1): bigint {
    return this.direct(this.ram.allocate(count, align));
  }

  /** A zeroed object in the direct map, 64-byte aligned. */
  kmalloc(size: number): bigint {
    if (this.slab + BigInt(size) > this.slabEnd) {
      const count = Math.ceil(size / PAGE);
      this.slab = this.pages(count);
      this.slabEnd = this.slab + BigInt(count * PAGE);
    }
    const at = this.slab;
    this.slab += BigInt(Math.ceil(size / 64) * 64);
    return at;
  }

  /** Scattered pages, mapped in a row, with a guard page behind. */
  vmalloc(size: number): bigint {
    const at = this.nextVmalloc;
    this.nextVmalloc += BigInt(size + PAGE);
    for (let done = 0; done < size; done += PAGE) {
      const physical = this.ram.allocate();
      this.ram.skip();
      this.space.map(at + BigInt(done), physical, PAGE, 4096, { writable: true });
    }
    return at;
  }

  /** Module space: text read-only and executable, then `readOnly` bytes, the rest writable. */
  moduleAlloc(text: number, readOnly: number, size: number, place?: bigint): bigint {
    const at = place ?? this.nextModule;
    if (at < this.nextModule) throw new Error(`0x${at.toString(16)} in module space is taken`);
    this.nextModule = at + BigInt(size + PAGE);
    for (let done = 0; done < size; done += PAGE) {
      const protection = done < text ? { executable: true } : done < readOnly ? {} : { writable: true };
      this.space.map(at + BigInt(done), this.ram.allocate(), PAGE, 4096, protection);
    }
    return at;
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.space.write(address, bytes);
  }
  u8(address: bigint, value: number): void {
    this.write(address, Uint8Array.of(value));
  }
  u32(address: bigint, value: number): void {
    this.write(address, new ByteWriter().u32(value).take());
  }
  u64(address: bigint, value: bigint | number): void {
    this.write(address, new ByteWriter().u64(value).take());
  }
  read64(address: bigint): bigint {
    const bytes = this.space.read(address, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }
  /** NUL-terminated text in fresh memory. */
  string(text: string): bigint {
    const at = this.kmalloc(text.length + 1);
    this.write(at, latin1(`${text}\0`));
    return at;
  }

  /** Sets members of a structure: numbers by the member's size, text into char arrays. */
  set(address: bigint, type: string, members: Readonly<Record<string, bigint | number | string | Uint8Array>>): void {
    for (const [path, value] of Object.entries(members)) {
      const m = this.types.member(type, path);
      const at = address + BigInt(m.offset);
      if (typeof value === "string") this.write(at, new ByteWriter().field(value, m.size).take());
      else if (value instanceof Uint8Array) this.write(at, value);
      else this.write(at, new ByteWriter().u64(value).take().subarray(0, m.size));
    }
  }

  /** Links list heads into a ring, in the order given; the first is the head. */
  ring(heads: readonly bigint[]): void {
    heads.forEach((head, i) => {
      const next = heads[(i + 1) % heads.length];
      this.u64(head, next);
      this.u64(next + 8n, head);
    });
  }
}
