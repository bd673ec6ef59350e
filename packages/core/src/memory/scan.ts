// A streaming search through all physical memory, for dumps that have neither VMCOREINFO nor a cr3: banner, VMCOREINFO
// text and page tables are then found by their bytes.
import { type PhysicalAddress, physicalAddress } from "../bytes/brand.ts";
import { PageCache } from "./page-cache.ts";
import type { Dump } from "./types.ts";

export interface ScanOptions {
  /** Only addresses that are multiples of this (bytes; 1). */
  readonly alignment?: number;
  /** Stop after so many hits (1,000). */
  readonly limit?: number;
  /** First address to look at (0). */
  readonly from?: PhysicalAddress;
}

const BLOCK = 1 << 20;

/**
 * Physical addresses, ascending, where `pattern` lies in the dump's memory. Absent and broken bytes match nothing; a pattern is
 * found across page and run borders, but not across a gap. Memory use does not follow the dump's size.
 * @throws RangeError for an empty pattern or one of over 64 KiB
 */
export function scanPhysical(
  dump: Pick<Dump, "physical">,
  pattern: Uint8Array,
  options: ScanOptions = {},
): PhysicalAddress[] {
  const { alignment = 1, limit = 1000, from = physicalAddress(0n) } = options;
  if (pattern.length === 0 || pattern.length > 1 << 16) throw new RangeError(`a pattern of ${pattern.length} bytes`);
  const hits: PhysicalAddress[] = [];
  const buffer = new Uint8Array(BLOCK + pattern.length - 1);
  const anchor = rarestByte(pattern);
  const pages = new PageCache(dump.physical);
  for (const range of dump.physical.held ?? dump.physical.ranges) {
    const end = range.start + range.length;
    for (let at = maxBig(range.start, from); at < end && hits.length < limit; ) {
      const left = end - at;
      const block = left < BigInt(buffer.length) ? buffer.subarray(0, Number(left)) : buffer;
      const gaps: [number, number][] = [];
      const missing = (offset: number, length: number) => gaps.push([offset, offset + length]);
      pages.copy(Number(at), block, missing, missing);
      const base = at;
      if (gaps.length !== 1 || gaps[0][1] - gaps[0][0] < block.length) {
        const phase = alignment > 1 ? Number((BigInt(alignment) - (base % BigInt(alignment))) % BigInt(alignment)) : 0;
        matches(block, pattern, anchor, alignment, phase, (offset) => {
          if (!inGap(gaps, offset, offset + pattern.length)) hits.push(physicalAddress(base + BigInt(offset)));
          return hits.length < limit;
        });
      }
      at += BigInt(Math.min(block.length, BLOCK));
    }
  }
  return hits;
}

function matches(
  bytes: Uint8Array,
  pattern: Uint8Array,
  anchor: number,
  alignment: number,
  phase: number,
  hit: (offset: number) => boolean,
): void {
  const last = bytes.length - pattern.length;
  const byte = pattern[anchor];
  if (alignment >= 8) {
    for (let at = phase; at <= last; at += alignment) {
      if (bytes[at + anchor] === byte && equals(bytes, at, pattern) && !hit(at)) return;
    }
    return;
  }
  // indexOf is a vectorised memchr; the anchor is a byte that memory does not hold everywhere.
  for (let found = bytes.indexOf(byte, anchor); found >= 0 && found - anchor <= last; ) {
    const at = found - anchor;
    if (at % alignment === phase % alignment && equals(bytes, at, pattern) && !hit(at)) return;
    found = bytes.indexOf(byte, found + 1);
  }
}

function equals(bytes: Uint8Array, at: number, pattern: Uint8Array): boolean {
  for (let i = 0; i < pattern.length; i++) if (bytes[at + i] !== pattern[i]) return false;
  return true;
}

function inGap(gaps: readonly [number, number][], start: number, end: number): boolean {
  return gaps.some(([from, to]) => from < end && to > start);
}

/** Index of a byte worth searching for: not 00 or ff if there is another, rather a capital or punctuation than a letter. */
function rarestByte(pattern: Uint8Array): number {
  const weight = (byte: number) =>
    byte === 0 || byte === 0xff
      ? 4
      : (byte >= 97 && byte <= 122) || byte === 32 || byte === 0x48
        ? 2
        : byte < 32
          ? 3
          : 1;
  let best = 0;
  for (let i = 1; i < pattern.length; i++) if (weight(pattern[i]) < weight(pattern[best])) best = i;
  return best;
}

function maxBig(a: bigint, b: bigint): bigint {
  if (b > a) return b;
  return a;
}
