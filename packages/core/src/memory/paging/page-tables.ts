// The virtual view over physical memory: x86-64 page tables of 4 and 5 levels (Intel SDM vol. 3, 4.5), with caches that
// let bulk reads run mapping by mapping and small reads touch no BigInt arithmetic.
import { type PhysicalAddress, physicalAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import { PageCache } from "../page-cache.ts";
import type { PhysicalMemory, Translation, VirtualMemory, VirtualSegment } from "../types.ts";
import { PAGE_SIZE } from "../types.ts";
import { PageWalker } from "./page-walk.ts";

/** Most bytes that one read() copies. */
export const READ_LIMIT = 256 << 20;

const TLB_SLOTS = 1024;
const WRITABLE = 1;
const EXECUTABLE = 2;
const USER = 4;

const latin1 = new TextDecoder("latin1");

type Absent = (offset: number, length: number, why: AddressError | undefined) => void;

/**
 * VirtualMemory through the page tables at `root`. Where the tables do not map an address, the dump's own virtual segments
 * answer, when given (permissions are then unknown: shown as writable and executable). With page table isolation give the
 * kernel's half of the pair (cr3 with bit 12 clear): the user's half maps only the entry code.
 */
export class PageTableMemory implements VirtualMemory {
  private readonly walker: PageWalker;
  private readonly pages: PageCache;
  private readonly segments: readonly VirtualSegment[];
  private readonly tags = new Float64Array(TLB_SLOTS).fill(-1);
  private readonly frames = new Float64Array(TLB_SLOTS);
  private readonly split = new BigUint64Array(1);
  private readonly halves = new Uint32Array(this.split.buffer);
  private readonly ends = new DataView(new ArrayBuffer(8));

  constructor(
    physical: PhysicalMemory,
    readonly root: PhysicalAddress,
    readonly levels: 4 | 5,
    segments: readonly VirtualSegment[] = [],
  ) {
    this.walker = new PageWalker(physical, Number(root & ~0xfffn), levels);
    this.pages = new PageCache(physical);
    this.segments = [...segments].sort((a, b) => (a.virtual < b.virtual ? -1 : a.virtual > b.virtual ? 1 : 0));
  }

  translate(address: VirtualAddress): Translation {
    const found = this.tryTranslate(address);
    if (found === undefined) throw this.walker.error(address);
    return found;
  }

  tryTranslate(address: VirtualAddress): Translation | undefined {
    const { walker } = this;
    if (!this.locate(address)) return undefined;
    return {
      physical: physicalAddress(BigInt(walker.physical)),
      pageSize: walker.pageSize,
      writable: (walker.rights & WRITABLE) !== 0,
      executable: (walker.rights & EXECUTABLE) !== 0,
      user: (walker.rights & USER) !== 0,
    };
  }

  read(address: VirtualAddress, length: number): Uint8Array {
    if (!(length >= 0 && length <= READ_LIMIT)) {
      throw new AddressError(address, "page", `a read of ${length} bytes is not within 0 … ${READ_LIMIT}`);
    }
    // The first byte first: a wild pointer with a wild length must not cost 256 MiB before it fails.
    if (length > 0 && !this.locate(address)) throw this.walker.error(address);
    const into = new Uint8Array(length);
    this.readPresent(address, into, (offset, _length, why) => {
      throw why ?? new AddressError(address + BigInt(offset), "page", "not in the dump");
    });
    return into;
  }

  tryRead(address: VirtualAddress, length: number): Uint8Array | undefined {
    try {
      return this.read(address, length);
    } catch (error) {
      if (error instanceof AddressError) return undefined;
      throw error;
    }
  }

  readPresent(address: VirtualAddress, into: Uint8Array, absent: Absent): void {
    const gaps = new GapJoiner(absent);
    let done = 0;
    while (done < into.length) {
      const at = virtualAddress(address + BigInt(done));
      if (at < address) {
        into.fill(0, done);
        gaps.add(
          done,
          into.length - done,
          () => new AddressError(at, "canonical", "past the end of the address space"),
        );
        break;
      }
      const left = into.length - done;
      if (this.locate(at)) {
        const physical = this.walker.physical;
        const length = this.extend(address, done, Math.min(left, this.walker.left), into.length, physical);
        this.copy(at, physical, into.subarray(done, done + length), done, gaps);
        done += length;
      } else {
        const length = this.gapLength(at, Math.min(left, this.walker.left));
        into.fill(0, done, done + length);
        gaps.add(done, length, () => this.walker.error(at));
        done += length;
      }
    }
    gaps.end();
  }

  u8(address: VirtualAddress): number {
    const view = this.pageOf(address);
    return view.getUint8(this.halves[0] & 0xfff);
  }
  u16(address: VirtualAddress): number {
    return this.at(address, 2).getUint16(this.inside, true);
  }
  u32(address: VirtualAddress): number {
    return this.at(address, 4).getUint32(this.inside, true);
  }
  i32(address: VirtualAddress): number {
    return this.at(address, 4).getInt32(this.inside, true);
  }
  u64(address: VirtualAddress): bigint {
    return this.at(address, 8).getBigUint64(this.inside, true);
  }
  pointer(address: VirtualAddress): VirtualAddress {
    return this.u64(address) as VirtualAddress;
  }

  cstring(address: VirtualAddress, max = 256): string {
    let text = "";
    for (let at = address, left = max; left > 0; ) {
      const view = this.pageOf(at);
      const start = this.halves[0] & 0xfff;
      const bytes = new Uint8Array(view.buffer, view.byteOffset + start, Math.min(left, PAGE_SIZE - start));
      const end = bytes.indexOf(0);
      text += latin1.decode(end < 0 ? bytes : bytes.subarray(0, end));
      if (end >= 0) break;
      at = virtualAddress(at + BigInt(bytes.length));
      left -= bytes.length;
    }
    return text;
  }

  private inside = 0;

  /** A view that has `size` bytes of `address` at `inside`: of the page itself, or of a copy when they straddle two. */
  private at(address: VirtualAddress, size: number): DataView {
    const view = this.pageOf(address);
    this.inside = this.halves[0] & 0xfff;
    if (this.inside + size <= PAGE_SIZE) return view;
    const bytes = this.read(address, size);
    for (let i = 0; i < size; i++) this.ends.setUint8(i, bytes[i]);
    this.inside = 0;
    return this.ends;
  }

  /** The page that holds `address`; its halves stay in `halves`. Lent until the next call. */
  private pageOf(address: VirtualAddress): DataView {
    const { split, halves, tags } = this;
    split[0] = address;
    const page = halves[1] * 2 ** 20 + (halves[0] >>> 12);
    const slot = (halves[0] >>> 12) & (TLB_SLOTS - 1);
    if (tags[slot] !== page) {
      if (!this.locate(address)) throw this.walker.error(address);
      // The byte's own frame: segments need not be page-aligned to each other.
      const inside = halves[0] & 0xfff;
      if (this.walker.physical % PAGE_SIZE !== inside) {
        throw new AddressError(address, "page", "lies in a segment whose virtual and physical page offsets differ");
      }
      this.frames[slot] = (this.walker.physical - inside) / PAGE_SIZE;
      tags[slot] = page;
    }
    return this.pages.get(this.frames[slot], address);
  }

  /** Walks the tables, then the segments; true leaves the answer in `walker`. */
  private locate(address: bigint): boolean {
    this.split[0] = address;
    if (this.walker.walk(this.halves[0], this.halves[1])) return true;
    return this.segments.length > 0 && this.locateSegment(address);
  }

  private locateSegment(address: bigint): boolean {
    const segment = this.segments[this.segmentAfter(address) - 1];
    if (segment === undefined || address >= segment.virtual + segment.length) return false;
    const inside = address - segment.virtual;
    // Only up to the end of the hole in the tables: after it they answer again.
    const left = Math.min(this.walker.left, Number(segment.length - inside), READ_LIMIT);
    this.walker.answer(Number(segment.physical + inside), left, WRITABLE | EXECUTABLE);
    return true;
  }

  /** Index of the first segment that starts after `address`. */
  private segmentAfter(address: bigint): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.segments[middle].virtual > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** How far an unmapped run goes before a segment could answer. */
  private gapLength(address: bigint, length: number): number {
    const next = this.segments[this.segmentAfter(address)];
    if (next === undefined) return length;
    const distance = next.virtual - address;
    return distance < BigInt(length) ? Number(distance) : length;
  }

  /** Joins following mappings as long as they go on physically, so that the copy is one large read. */
  private extend(address: bigint, done: number, first: number, total: number, physical: number): number {
    let length = first;
    while (done + length < total) {
      const next = address + BigInt(done + length);
      if (next >= 1n << 64n || !this.locate(next) || this.walker.physical !== physical + length) break;
      length += Math.min(total - done - length, this.walker.left);
    }
    return length;
  }

  private copy(at: bigint, physical: number, into: Uint8Array, done: number, gaps: GapJoiner): void {
    const missing = (offset: number, length: number) =>
      gaps.add(
        done + offset,
        length,
        () => new AddressError(at + BigInt(offset), "page", `${hex(physical + offset)} is not in the dump`),
      );
    this.pages.copy(physical, into, missing, (offset, length, problem) =>
      gaps.add(done + offset, length, () => new AddressError(at + BigInt(offset), "page", problem)),
    );
  }
}

/** Joins adjacent absent runs; the reason of a joined run is that of its first part. */
class GapJoiner {
  private start = 0;
  private length = 0;
  private why: AddressError | undefined;

  constructor(private readonly absent: Absent) {}

  add(offset: number, length: number, why: () => AddressError): void {
    if (this.length > 0 && this.start + this.length === offset) {
      this.length += length;
      return;
    }
    this.end();
    this.start = offset;
    this.length = length;
    this.why = why();
  }

  end(): void {
    if (this.length > 0) this.absent(this.start, this.length, this.why);
    this.length = 0;
  }
}

function hex(value: number): string {
  return `physical 0x${value.toString(16)}`;
}
