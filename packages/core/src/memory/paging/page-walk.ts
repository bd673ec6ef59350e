// One walk through x86-64 page tables in plain numbers: entries are read as 32-bit halves, tables are cached. Answers
// stay in fields, since a walk happens for each page of every bulk read.
import { AddressError, PalimpsestError } from "../../bytes/errors.ts";
import { PAGE_SIZE, type PhysicalMemory } from "../types.ts";

export type WalkLevel = AddressError["level"];

const PRESENT = 1;
const LARGE = 0x80;
const NO_EXECUTE = 0x80000000; // bit 63, in the high half
const RIGHTS_RW_US = 6; // bits 1 and 2 of an entry
// 2,048 tables map 4 GiB in 4 KiB pages; 8 MiB of cache at most.
const TABLES_LIMIT = 2048;

const LEVELS: readonly { readonly name: WalkLevel; readonly shift: number; readonly size: number }[] = [
  { name: "pgd", shift: 48, size: 2 ** 48 },
  { name: "p4d", shift: 39, size: 2 ** 39 },
  { name: "pud", shift: 30, size: 2 ** 30 },
  { name: "pmd", shift: 21, size: 2 ** 21 },
  { name: "pte", shift: 12, size: 2 ** 12 },
];

export class PageWalker {
  /** Physical address of the byte walked to. */
  physical = 0;
  /** Bytes from there to the end of its mapping; after a failed walk: to the end of the hole. */
  left = 0;
  pageSize = PAGE_SIZE;
  /** 1 writable, 2 executable, 4 user: what every level allows. */
  rights = 0;
  private level: WalkLevel = "page";
  private problem = "";
  private readonly tables = new Map<number, Uint32Array | string>();
  private readonly top: number;

  constructor(
    private readonly memory: PhysicalMemory,
    private readonly root: number,
    readonly levels: 4 | 5,
  ) {
    this.top = 5 - levels;
  }

  /** Why the last walk failed. */
  error(address: bigint): AddressError {
    return new AddressError(address, this.level, this.problem);
  }

  /** An answer from elsewhere than the tables, in the same fields. */
  answer(physical: number, left: number, rights: number): void {
    this.physical = physical;
    this.left = left;
    this.pageSize = PAGE_SIZE;
    this.rights = rights;
  }

  /** Walks to the address of these halves. False leaves why in `error()` and the hole's extent in `left`. */
  walk(low: number, high: number): boolean {
    const sign = this.levels === 5 ? high >>> 24 : high >>> 15;
    if (sign !== 0 && sign !== (this.levels === 5 ? 0xff : 0x1ffff)) {
      // The hole ends at the first address of the upper half.
      const upper = this.levels === 5 ? 0xff00_0000 : 0xffff_8000;
      const left = (upper - high) * 2 ** 32 - low;
      return this.fail("canonical", `is not canonical with ${this.levels} table levels`, left);
    }
    let table = this.root;
    let narrow = RIGHTS_RW_US;
    let noExecute = 0;
    for (let i = this.top; i < LEVELS.length; i++) {
      const { shift, size } = LEVELS[i];
      const name = i === this.top ? "pgd" : LEVELS[i].name;
      const inside = shift >= 32 ? (high % 2 ** (shift - 32)) * 2 ** 32 + low : low % size;
      const entries = this.table(table);
      if (typeof entries === "string") return this.fail(name, entries, size - inside);
      const index =
        shift >= 32 ? (high >>> (shift - 32)) & 511 : ((low >>> shift) | (shift === 30 ? high << 2 : 0)) & 511;
      const entryLow = entries[index * 2];
      const entryHigh = entries[index * 2 + 1];
      if ((entryLow & PRESENT) === 0) return this.fail(name, "is not mapped", size - inside);
      narrow &= entryLow;
      noExecute |= entryHigh & NO_EXECUTE;
      const frame = (entryHigh & 0xfffff) * 2 ** 32 + ((entryLow & 0xfffff000) >>> 0);
      if (shift === 12 || (entryLow & LARGE) !== 0) {
        if (shift > 30)
          return this.fail(name, "entry has the large-page bit, which this level does not have", size - inside);
        // Bit 12 of a large entry is PAT, the bits up to the page's size are reserved.
        this.physical = frame - (frame % size) + inside;
        this.left = size - inside;
        this.pageSize = size;
        this.rights = (narrow & 2) >>> 1;
        if (noExecute === 0) this.rights |= 2;
        this.rights |= narrow & 4;
        return true;
      }
      table = frame;
    }
    return this.fail("pte", "is not mapped", PAGE_SIZE);
  }

  private fail(level: WalkLevel, problem: string, left: number): false {
    this.level = level;
    this.problem = problem;
    this.left = left;
    return false;
  }

  /** A table's entries as pairs of halves, or why there are none. */
  private table(address: number): Uint32Array | string {
    let entries = this.tables.get(address);
    if (entries === undefined) {
      entries = this.load(address);
      if (this.tables.size >= TABLES_LIMIT) this.tables.clear();
      this.tables.set(address, entries);
    }
    return entries;
  }

  private load(address: number): Uint32Array | string {
    try {
      const bytes = this.memory.page(address / PAGE_SIZE);
      if (bytes === undefined) return `its page table at physical 0x${address.toString(16)} is not in the dump`;
      const copy = bytes.slice(0, PAGE_SIZE);
      return new Uint32Array(copy.buffer, 0, PAGE_SIZE / 4);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return `its page table cannot be read: ${error.message}`;
    }
  }
}
