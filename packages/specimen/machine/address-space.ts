// x86-64 page tables, four levels, in the specimen's RAM, and writing through them. Pages of 4 KiB, 2 MiB and 1 GiB.
import { ByteWriter } from "../bytes.ts";
import { PAGE, type Ram } from "./physical.ts";

const PRESENT = 1n;
const WRITABLE = 2n;
const ACCESSED = 0x20n;
const DIRTY = 0x40n;
const HUGE = 0x80n;
const GLOBAL = 0x100n;
const NO_EXECUTE = 1n << 63n;
/** _KERNPG_TABLE */
const TABLE = PRESENT | WRITABLE | ACCESSED | DIRTY;

export interface Protection {
  readonly writable?: boolean;
  readonly executable?: boolean;
}

export type PageSize = 4096 | 0x200000 | 0x40000000;
const LEVELS: readonly (readonly [bigint, PageSize | undefined])[] = [
  [39n, undefined],
  [30n, 0x40000000],
  [21n, 0x200000],
  [12n, 4096],
];

interface Range {
  readonly virtual: bigint;
  readonly physical: number;
  readonly size: number;
}

export class AddressSpace {
  private readonly ranges: Range[] = [];

  /** @param root physical address of the top page table, a page that is in RAM already */
  constructor(
    readonly ram: Ram,
    readonly root: number,
  ) {}

  private entry(table: number, index: number): bigint {
    const page = this.ram.page(table / PAGE);
    return new DataView(page.buffer).getBigUint64(index * 8, true);
  }
  private setEntry(table: number, index: number, value: bigint): void {
    this.ram.write(table + index * 8, new ByteWriter().u64(value).take());
  }

  /** Hangs a table page that lies at a fixed place into the tree: level 1 is what the root points to. */
  adopt(virtual: bigint, level: 1 | 2 | 3, table: number): void {
    const parent = this.walk(virtual, level - 1);
    this.setEntry(parent, index(virtual, level - 1), BigInt(table) | TABLE);
  }

  /** The table of `level` (0 = root) for an address; missing ones are allocated. */
  private walk(virtual: bigint, level: number): number {
    let table = this.root;
    for (let i = 0; i < level; i++) {
      const at = index(virtual, i);
      let next = this.entry(table, at);
      if ((next & PRESENT) === 0n) {
        next = BigInt(this.ram.allocate()) | TABLE;
        this.setEntry(table, at, next);
      }
      table = Number(next & 0x000ffffffffff000n);
    }
    return table;
  }

  /** Maps `size` bytes with pages of one size. */
  map(virtual: bigint, physical: number, size: number, page: PageSize, protection: Protection = {}): void {
    const level = LEVELS.findIndex(([, s]) => s === page);
    const flags =
      PRESENT |
      ACCESSED |
      GLOBAL |
      (protection.writable ? WRITABLE | DIRTY : 0n) |
      (page === 4096 ? 0n : HUGE) |
      (protection.executable ? 0n : NO_EXECUTE);
    for (let at = 0; at < size; at += page) {
      const v = BigInt.asUintN(64, virtual + BigInt(at));
      this.setEntry(this.walk(v, level), index(v, level), BigInt(physical + at) | flags);
    }
    this.ranges.push({ virtual, physical, size });
  }

  /** Physical address; the newest mapping wins. */
  physical(virtual: bigint): number {
    for (let i = this.ranges.length - 1; i >= 0; i--) {
      const r = this.ranges[i];
      if (virtual >= r.virtual && virtual < r.virtual + BigInt(r.size)) return r.physical + Number(virtual - r.virtual);
    }
    throw new Error(`nothing is mapped at 0x${virtual.toString(16)}`);
  }

  write(virtual: bigint, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = virtual + BigInt(done);
      const part = bytes.subarray(done, done + PAGE - Number(at % BigInt(PAGE)));
      this.ram.write(this.physical(at), part);
      done += part.length;
    }
  }

  read(virtual: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = virtual + BigInt(done);
      const part = Math.min(length - done, PAGE - Number(at % BigInt(PAGE)));
      out.set(this.ram.read(this.physical(at), part), done);
      done += part;
    }
    return out;
  }
}

function index(virtual: bigint, level: number): number {
  return Number((virtual >> LEVELS[level][0]) & 0x1ffn);
}
