// Copies of recently used pages for small reads, and bulk copies that survive a page whose bytes in the file are broken.
import { physicalAddress } from "../bytes/brand.ts";
import { AddressError, PalimpsestError } from "../bytes/errors.ts";
import { PAGE_SIZE, type PhysicalMemory } from "./types.ts";

const SLOTS = 256;

export class PageCache {
  private readonly tags = new Float64Array(SLOTS).fill(-1);
  private readonly views: DataView[] = [];

  constructor(private readonly physical: PhysicalMemory) {}

  /** A page by frame number. @throws AddressError, with `address` in it, when it is absent or broken */
  get(pfn: number, address: bigint): DataView {
    const slot = pfn % SLOTS;
    if (this.tags[slot] === pfn) return this.views[slot];
    const page = this.load(pfn);
    if (typeof page === "string") throw new AddressError(address, "page", page);
    this.views[slot] ??= new DataView(new ArrayBuffer(PAGE_SIZE));
    new Uint8Array(this.views[slot].buffer).set(page);
    this.tags[slot] = pfn;
    return this.views[slot];
  }

  private load(pfn: number): Uint8Array | string {
    try {
      return this.physical.page(pfn) ?? `physical 0x${(pfn * PAGE_SIZE).toString(16)} is not in the dump`;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return error.message;
    }
  }

  /** Copies `into.length` bytes from a physical address; absent and broken parts are zero and reported, ascending. */
  copy(
    physical: number,
    into: Uint8Array,
    absent: (offset: number, length: number) => void,
    broken: (offset: number, length: number, problem: string) => void,
  ): void {
    const gaps: [number, number][] = [];
    try {
      this.physical.read(physicalAddress(BigInt(physical)), into, (offset, length) => gaps.push([offset, length]));
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      this.copyByPage(physical, into, absent, broken);
      return;
    }
    for (const [offset, length] of gaps) absent(offset, length);
  }

  private copyByPage(
    physical: number,
    into: Uint8Array,
    absent: (offset: number, length: number) => void,
    broken: (offset: number, length: number, problem: string) => void,
  ): void {
    for (let done = 0; done < into.length; ) {
      const inside = (physical + done) % PAGE_SIZE;
      const length = Math.min(into.length - done, PAGE_SIZE - inside);
      const part = into.subarray(done, done + length);
      const start = done;
      try {
        const address = physicalAddress(BigInt(physical + done));
        this.physical.read(address, part, (offset, count) => absent(start + offset, count));
      } catch (error) {
        if (!(error instanceof PalimpsestError)) throw error;
        part.fill(0);
        broken(start, length, error.message);
      }
      done += length;
    }
  }
}
