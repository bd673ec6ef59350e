// Page tables found by their shape, for memory that came without registers and without VMCOREINFO: the kernel's image is
// mapped through the last entry of the top table, the one but last of the next, and large pages below that.
import { physicalAddress } from "../../bytes/brand.ts";
import { PageCache } from "../page-cache.ts";
import { PAGE_SIZE, type PhysicalMemory } from "../types.ts";
import type { PageTableRoot } from "./page-table-roots.ts";

const BLOCK = 1 << 20;
const LAST = PAGE_SIZE - 8;
/** Entry of __START_KERNEL_map in the table of 1 GiB entries (arch/x86/include/asm/page_64_types.h). */
const IMAGE_ENTRY = PAGE_SIZE - 16;
const PRESENT = 1;
const LARGE = 0x80;
const LARGE_PAGE = 2 << 20;
/** Bytes of a kernel image that a candidate must map with large pages at least. */
const LARGE_PAGES = 2;
/** A guest has one top table a process; those of the kernel itself come first in memory. */
const CANDIDATES = 4096;

interface Link {
  readonly from: number;
  readonly to: number;
}

/**
 * Tables whose last entry leads to one that maps a kernel image, in order of address: tables of processes among them, and
 * with five levels also the second level, so that a caller must prove what it takes. A table that a five-level one points
 * to comes with its parent first.
 */
export function searchPageTables(memory: PhysicalMemory): PageTableRoot[] {
  const pages = new PageCache(memory);
  const known = new Map<number, boolean>();
  const mapsImage = (table: number): boolean => {
    const seen = known.get(table);
    if (seen !== undefined) return seen;
    const answer = isImageTable(pages, table);
    known.set(table, answer);
    return answer;
  };
  const links: Link[] = [];
  const fours: Link[] = [];
  lastEntries(pages, memory.held ?? memory.ranges, (link) => {
    if (links.length < CANDIDATES * 16) links.push(link);
    if (fours.length < CANDIDATES && mapsImage(link.to)) fours.push(link);
  });
  const tables = new Set(fours.map(({ from }) => from));
  const fives = links.filter(({ to, from }) => tables.has(to) && !tables.has(from));
  const root = (levels: 4 | 5) => (link: Link) => ({
    root: physicalAddress(BigInt(link.from)),
    levels,
    from: `a search for page tables (at physical 0x${link.from.toString(16)})`,
  });
  return [...fives.map(root(5)), ...fours.map(root(4))];
}

/** Copies what is there; false when a part is absent or broken. */
function copy(pages: PageCache, physical: number, into: Uint8Array): boolean {
  let whole = true;
  const missing = () => {
    whole = false;
  };
  pages.copy(physical, into, missing, missing);
  return whole;
}

/** Calls `found` for each page whose last 8 bytes may be an entry that leads to another page of the dump. */
function lastEntries(pages: PageCache, ranges: PhysicalMemory["ranges"], found: (link: Link) => void): void {
  const bytes = new Uint8Array(BLOCK);
  const view = new DataView(bytes.buffer);
  const starts = Float64Array.from(ranges, ({ start }) => Number(start));
  const ends = Float64Array.from(ranges, ({ start, length }) => Number(start + length));
  const held = (address: number) => {
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle] <= address) low = middle + 1;
      else high = middle;
    }
    return low > 0 && address + PAGE_SIZE <= ends[low - 1];
  };
  for (const range of ranges) {
    const end = Number(range.start + range.length);
    for (let at = Math.ceil(Number(range.start) / PAGE_SIZE) * PAGE_SIZE; at + PAGE_SIZE <= end; at += BLOCK) {
      const block = bytes.subarray(0, Math.min(BLOCK, Math.floor((end - at) / PAGE_SIZE) * PAGE_SIZE));
      copy(pages, at, block); // what is absent reads as zero, which is no entry
      for (let page = 0; page < block.length; page += PAGE_SIZE) {
        const low = view.getUint32(page + LAST, true);
        if ((low & (PRESENT | LARGE)) !== PRESENT) continue;
        const to = entryTarget(low, view.getUint32(page + LAST + 4, true));
        if (to !== 0 && held(to)) found({ from: at + page, to });
      }
    }
  }
}

function isImageTable(pages: PageCache, table: number): boolean {
  const middle = entryAt(pages, table + IMAGE_ENTRY);
  const bytes = new Uint8Array(PAGE_SIZE);
  if (middle === undefined || !copy(pages, middle, bytes)) return false;
  const view = new DataView(bytes.buffer);
  let run = 0;
  let next = -1;
  for (let at = 0; at < PAGE_SIZE; at += 8) {
    const low = view.getUint32(at, true);
    const address = entryTarget(low, view.getUint32(at + 4, true));
    const large = (low & (PRESENT | LARGE)) === (PRESENT | LARGE) && address % LARGE_PAGE === 0;
    run = large ? (address === next ? run + 1 : 1) : 0;
    if (run >= LARGE_PAGES) return true;
    next = address + LARGE_PAGE;
  }
  return false;
}

function entryAt(pages: PageCache, address: number): number | undefined {
  const bytes = new Uint8Array(8);
  if (!copy(pages, address, bytes)) return undefined;
  const view = new DataView(bytes.buffer);
  const low = view.getUint32(0, true);
  return (low & (PRESENT | LARGE)) === PRESENT ? entryTarget(low, view.getUint32(4, true)) : undefined;
}

/** Bits 12 to 51. */
function entryTarget(low: number, high: number): number {
  return (high & 0x000fffff) * 2 ** 32 + ((low & ~0xfff) >>> 0);
}
