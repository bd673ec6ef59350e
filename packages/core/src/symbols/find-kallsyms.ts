// Finds kallsyms by structure in a kernel's read-only data, for kernels whose VMCOREINFO does not tell the
// addresses (before 6.0, or a dump without any). Each step is checked against the one before: the token index must
// be the exact offsets of the tokens, the markers must be those of the names, the addresses must ascend.
import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { checkMarkers, decodeOffsets, type KallsymsLocations } from "./kallsyms.ts";
import { walkNames } from "./kallsyms-names.ts";
import { compareAddresses, signedAddress } from "./sorted-symbols.ts";

/** Names, markers and sequence numbers of any kernel fit in this many bytes before the token table. */
const SEARCH_BACK = 32 << 20;
/** Compressed names are shorter than this; 256 of them lie between two markers. */
const MAX_NAME = 600;
/** A kernel has thousands of symbols; fewer markers than this do not tell the table from chance. */
const MIN_MARKERS = 2;

/** A kernel has one token table; a crafted image may have thousands, each of which starts a search. */
const MAX_TABLES = 8;
/** Runs of numbers that look like markers; the real one is the nearest to the token table, or nearly so. */
const MAX_RUNS = 4096;
/** Places that may be the start of the names, for one run of markers; each costs a walk. */
const MAX_WALKS = 64;

interface Tokens {
  readonly table: number;
  readonly index: number;
}
interface Names {
  readonly numSyms: number;
  readonly names: number;
  readonly count: number;
}

/**
 * @param bytes a kernel's read-only data, or its whole image; pages that a dump lacks may be zeros
 * @param base address of the first byte, a multiple of 8 as the tables' alignment is counted from it
 * @returns undefined when no complete set of tables is there
 */
export function findKallsyms(bytes: Uint8Array, base: VirtualAddress): KallsymsLocations | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let tables = 0;
  for (const tokens of findTokens(bytes, view)) {
    if (++tables > MAX_TABLES) break;
    const names = findNames(bytes, view, tokens.table);
    if (names === undefined) continue;
    const rows = findAddresses(view, base, names, tokens.index + 512);
    if (rows === undefined) continue;
    const at = (offset: number | undefined) => (offset === undefined ? undefined : addressAdd(base, offset));
    return {
      names: addressAdd(base, names.names),
      numSyms: addressAdd(base, names.numSyms),
      tokenTable: addressAdd(base, tokens.table),
      tokenIndex: addressAdd(base, tokens.index),
      addresses: at(rows.addresses),
      offsets: at(rows.offsets),
      relativeBase: at(rows.relativeBase),
    };
  }
  return undefined;
}

/**
 * The digits are tokens of their own in every kernel (a character that names use keeps its number): the bytes
 * "0\0" "1\0" … "9\0", searched with skips of up to their length.
 */
function* findTokens(bytes: Uint8Array, view: DataView): Generator<Tokens> {
  const last = 19;
  for (let at = last; at < bytes.length; ) {
    const byte = bytes[at];
    if (byte === 0) {
      if (matchesDigits(bytes, at - last)) {
        const tokens = checkTokens(bytes, view, at - last);
        if (tokens !== undefined) yield tokens;
      }
      at += 2;
    } else if (byte >= 0x30 && byte <= 0x39) at += last - (byte - 0x30) * 2;
    else at += 20;
  }
}

function matchesDigits(bytes: Uint8Array, start: number): boolean {
  for (let digit = 0; digit < 10; digit++) {
    if (bytes[start + digit * 2] !== 0x30 + digit || bytes[start + digit * 2 + 1] !== 0) return false;
  }
  return true;
}

/** From token '0' (number 48) to the last token's end, then the index, which tells where token 0 starts. */
function checkTokens(bytes: Uint8Array, view: DataView, zero: number): Tokens | undefined {
  let end = zero;
  for (let token = 48; token < 256; token++) {
    end = bytes.indexOf(0, end) + 1;
    if (end === 0 || end - zero > 1 << 16) return undefined;
  }
  for (let index = end; index <= end + 64 && index + 512 <= bytes.length; index++) {
    const table = zero - view.getUint16(index + 96, true);
    if (table < 0 || view.getUint16(index, true) !== 0) continue;
    let at = table;
    let token = 0;
    for (; token < 256 && view.getUint16(index + token * 2, true) === at - table; token++) {
      at = bytes.indexOf(0, at) + 1;
      if (at === 0) break;
    }
    if (token === 256) return { table, index };
  }
  return undefined;
}

/**
 * Backwards from the token table to the markers (0, then rising by the size of 256 names; between them and the
 * table may lie kallsyms_seqs_of_names, 3 bytes a symbol, 6.2 and 6.3), then to the names' start, which
 * kallsyms_num_syms precedes.
 */
function findNames(bytes: Uint8Array, view: DataView, table: number): Names | undefined {
  const stop = Math.max(0, table - SEARCH_BACK);
  let runs = 0;
  for (let start = Math.floor((table - 8) / 4) * 4; start >= stop; start -= 4) {
    if (view.getUint32(start, true) !== 0) continue;
    for (const size of [4, 8] as const) {
      const markers = countMarkers(view, start, size, table);
      if (markers < MIN_MARKERS) continue;
      if (++runs > MAX_RUNS) return undefined;
      const names = namesBefore(bytes, view, start, size, markers);
      if (names !== undefined) return names;
    }
  }
  return undefined;
}

function countMarkers(view: DataView, start: number, size: 4 | 8, end: number): number {
  let previous = 0;
  let count = 1;
  for (let at = start + size; at + size <= end; at += size) {
    const value = view.getUint32(at, true);
    const step = value - previous;
    if (step < 512 || step > 256 * MAX_NAME || (size === 8 && view.getUint32(at + 4, true) !== 0)) break;
    previous = value;
    count++;
  }
  return count;
}

function namesBefore(
  bytes: Uint8Array,
  view: DataView,
  markers: number,
  size: 4 | 8,
  markerCount: number,
): Names | undefined {
  const lastMarker = view.getUint32(markers + (markerCount - 1) * size, true);
  const lowest = Math.max(8, markers - lastMarker - 256 * MAX_NAME);
  let walks = 0;
  for (let names = markers - lastMarker - 2 - ((markers - lastMarker - 2) % 4); names >= lowest; names -= 4) {
    for (const numSyms of [names - 8, names - 4]) {
      const count = view.getUint32(numSyms, true);
      if (count > markerCount * 256 || count <= (markerCount - 1) * 256) continue;
      if (++walks > MAX_WALKS) return undefined;
      const region = bytes.subarray(names, markers + markerCount * size);
      for (const lengths of ["uleb128", "byte"] as const) {
        const offsets = walkNames(region.subarray(0, markers - names), count, lengths);
        if (offsets !== undefined && checkMarkers(region, markers - names, size, offsets, count)) {
          return { numSyms, names, count };
        }
      }
    }
  }
  return undefined;
}

interface Rows {
  readonly addresses?: number;
  readonly offsets?: number;
  readonly relativeBase?: number;
}

/**
 * The addresses lie behind the token index (6.4 on) or before kallsyms_num_syms (until then); relative to a base
 * that follows them, or each to its own place (7.0), or absolute.
 */
function findAddresses(view: DataView, base: VirtualAddress, names: Names, behind: number): Rows | undefined {
  const { count, numSyms } = names;
  const signedBase = signedAddress(base);
  const ascends = (addresses: Float64Array) => {
    for (let i = 1; i < count; i++) if (compareAddresses(addresses[i - 1], addresses[i]) > 0) return false;
    return isKernelHalf(addresses[count >> 1]) && isKernelHalf(addresses[count - 1]);
  };
  const relative = (offsets: number, relativeBase: number) => {
    if (offsets < 0 || offsets + count * 4 > view.byteLength || relativeBase + 8 > view.byteLength) return false;
    const value = virtualAddress(view.getBigUint64(relativeBase, true));
    if (!isKernelHalf(signedAddress(value))) return false;
    return ascends(decodeOffsets(slice(view, offsets, count * 4), count, signedAddress(value), false).addresses);
  };
  const absolute = (addresses: number) => {
    if (addresses < 0 || addresses + count * 8 > view.byteLength) return false;
    const decoded = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      decoded[i] = view.getInt32(addresses + i * 8 + 4, true) * 2 ** 32 + view.getUint32(addresses + i * 8, true);
    }
    return ascends(decoded);
  };
  const starts = new Set([align(behind, 4), align(behind, 8)]);
  for (const start of starts) {
    for (const relativeBase of [align(start + count * 4, 8), start + count * 4]) {
      if (relative(start, relativeBase)) return { offsets: start, relativeBase };
    }
    if (start + count * 4 <= view.byteLength) {
      const own = decodeOffsets(slice(view, start, count * 4), count, signedBase + start, true);
      if (ascends(own.addresses)) return { offsets: start };
    }
    if (absolute(start)) return { addresses: start };
  }
  const relativeBase = numSyms - 8;
  for (const offsets of [relativeBase - count * 4, relativeBase - count * 4 - 4]) {
    if (offsets >= 0 && relative(offsets, relativeBase)) return { offsets, relativeBase };
  }
  return absolute(numSyms - count * 8) ? { addresses: numSyms - count * 8 } : undefined;
}

/** The upper half of the address space, and an exact double. */
function isKernelHalf(signed: number): boolean {
  return signed < 0 && signed >= -(2 ** 47);
}

function slice(view: DataView, offset: number, length: number): DataView {
  return new DataView(view.buffer, view.byteOffset + offset, length);
}

function align(offset: number, size: number): number {
  return Math.ceil(offset / size) * size;
}
