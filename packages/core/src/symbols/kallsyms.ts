// The kernel's own symbol table (scripts/kallsyms.c, kernel/kallsyms.c): every function and most data, with no
// debug package and no System.map. Which of its layouts a kernel has is told from the tables themselves.
import { formatAddress, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { FormatError } from "../bytes/errors.ts";
import { CompressedNames, type NameLengths, readTokens, walkNames } from "./kallsyms-names.ts";
import type { AddressReader } from "./reader.ts";
import { compareAddresses, SortedSymbols, signedAddress, unsignedAddress } from "./sorted-symbols.ts";
import type { KernelSymbol } from "./types.ts";

/** Where the tables lie. Exactly one of `addresses` and `offsets` is there. */
export interface KallsymsLocations {
  /** u8[]: names, compressed */
  readonly names: VirtualAddress;
  /** u32 (unsigned long before 4.20): number of symbols */
  readonly numSyms: VirtualAddress;
  /** char[]: 256 NUL-terminated tokens */
  readonly tokenTable: VirtualAddress;
  /** u16[256] */
  readonly tokenIndex: VirtualAddress;
  /** unsigned long[]: before 4.6, and later without CONFIG_KALLSYMS_BASE_RELATIVE */
  readonly addresses?: VirtualAddress;
  /** s32[]: since 4.6; relative to `*relativeBase`, or each to its own place where there is no base (7.0) */
  readonly offsets?: VirtualAddress;
  /** unsigned long */
  readonly relativeBase?: VirtualAddress;
}

/** "percpu-absolute" is CONFIG_KALLSYMS_ABSOLUTE_PERCPU: offsets >= 0 are addresses, others base - 1 - offset. */
export type KallsymsEncoding = "absolute" | "base-relative" | "percpu-absolute" | "place-relative";

/** More than twice the names of any kernel; bounds what is read for a claimed distance. */
const MAX_NAMES = 32 << 20;
/** 256 tokens of at most this on average; the whole table is around 1 KiB. */
const MAX_TOKEN_TABLE = 1 << 16;

export class Kallsyms extends SortedSymbols {
  constructor(
    addresses: Float64Array,
    /** undefined when the tables are in order already */
    private readonly order: Uint32Array | undefined,
    private readonly names: CompressedNames,
    readonly encoding: KallsymsEncoding,
    readonly nameLengths: NameLengths,
  ) {
    super(addresses);
  }

  protected symbol(row: number): KernelSymbol {
    const text = this.names.decode(this.order === undefined ? row : this.order[row]);
    return { name: text.slice(1), address: unsignedAddress(this.addresses[row]), type: text[0] ?? "?" };
  }

  protected typeOf(row: number): string {
    return this.names.letter(this.order === undefined ? row : this.order[row]);
  }

  protected rows(name: string): readonly number[] {
    const found = this.names.rows(name);
    const { order } = this;
    if (order === undefined || found.length === 0) return found;
    return found.map((index) => order.indexOf(index)).sort((a, b) => a - b);
  }
}

/**
 * The locations that VMCOREINFO tells (since 6.0, commit 5fd8fea935a1), or undefined when it does not.
 * @param symbolOf value of the line SYMBOL(name)
 */
export function kallsymsFromVmcoreinfo(symbolOf: (name: string) => bigint | undefined): KallsymsLocations | undefined {
  const at = (name: string) => {
    const value = symbolOf(`kallsyms_${name}`);
    return value === undefined ? undefined : virtualAddress(value);
  };
  const names = at("names");
  const numSyms = at("num_syms");
  const tokenTable = at("token_table");
  const tokenIndex = at("token_index");
  const addresses = at("addresses");
  const offsets = at("offsets");
  if (names === undefined || numSyms === undefined || tokenTable === undefined || tokenIndex === undefined) return;
  if (addresses === undefined && offsets === undefined) return;
  return { names, numSyms, tokenTable, tokenIndex, addresses, offsets, relativeBase: at("relative_base") };
}

/**
 * Reads the symbol table at the given locations.
 * @throws FormatError when the tables contradict each other, AddressError when a part is not in the dump
 */
export function readKallsyms(reader: AddressReader, at: KallsymsLocations): Kallsyms {
  const count = u32(reader.read(at.numSyms, 4), 0);
  const distance = at.tokenTable - at.names;
  if (distance <= 0n || distance > BigInt(MAX_NAMES)) {
    throw new FormatError(
      "kallsyms_names",
      `${formatAddress(at.names)} is not shortly before kallsyms_token_table ${formatAddress(at.tokenTable)}`,
    );
  }
  const region = reader.read(at.names, Number(distance)).slice();
  if (count === 0 || count * 2 > region.length) {
    throw new FormatError("kallsyms_num_syms", `${count} symbols cannot have their names in ${region.length} bytes`);
  }
  const tokens = readTokens(readTokenTable(reader, at), reader.read(at.tokenIndex, 512).slice());
  const { offsets, lengths } = chooseLengths(region, count);
  const names = new CompressedNames(tokens, region.subarray(0, offsets[count]), offsets, lengths);
  const { addresses, encoding } = readAddresses(reader, at, count);
  const order = sortRows(addresses);
  const sorted = order === undefined ? addresses : Float64Array.from(order, (row) => addresses[row]);
  return new Kallsyms(sorted, order, names, encoding, lengths);
}

function readTokenTable(reader: AddressReader, at: KallsymsLocations): Uint8Array {
  const distance = at.tokenIndex - at.tokenTable;
  if (distance < 256n || distance > BigInt(MAX_TOKEN_TABLE)) {
    throw new FormatError(
      "kallsyms_token_table",
      `${formatAddress(at.tokenTable)} is not shortly before kallsyms_token_index ${formatAddress(at.tokenIndex)}`,
    );
  }
  return reader.read(at.tokenTable, Number(distance)).slice();
}

/**
 * kallsyms_markers, which follows the names, tells every 256th name's offset: the reading of lengths that fits it
 * is the right one. VMCOREINFO does not give its address, so it is looked for behind the names' end.
 */
function chooseLengths(region: Uint8Array, count: number): { offsets: Uint32Array; lengths: NameLengths } {
  for (const lengths of ["uleb128", "byte"] as const) {
    const offsets = walkNames(region, count, lengths);
    if (offsets !== undefined && markersFit(region, offsets)) return { offsets, lengths };
  }
  throw new FormatError("kallsyms_names", `no reading of ${count} names agrees with kallsyms_markers`);
}

function markersFit(region: Uint8Array, offsets: Uint32Array): boolean {
  const end = offsets[offsets.length - 1];
  const count = offsets.length - 1;
  const aligned = Math.ceil(end / 4) * 4;
  for (const start of [aligned, aligned + 4]) {
    if (checkMarkers(region, start, 4, offsets, count) || checkMarkers(region, start, 8, offsets, count)) return true;
  }
  return false;
}

/** True when the markers at `start` (u32, or u64 before 4.20) are those of these names. */
export function checkMarkers(
  region: Uint8Array,
  start: number,
  size: 4 | 8,
  offsets: Uint32Array,
  count: number,
): boolean {
  const markers = Math.ceil(count / 256);
  if (start + markers * size > region.length) return false;
  for (let i = 0; i < markers; i++) {
    if (u32(region, start + i * size) !== offsets[i * 256]) return false;
    if (size === 8 && u32(region, start + i * size + 4) !== 0) return false;
  }
  return true;
}

function readAddresses(reader: AddressReader, at: KallsymsLocations, count: number) {
  if (at.offsets !== undefined) {
    const bytes = reader.read(at.offsets, count * 4);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (at.relativeBase === undefined) return decodeOffsets(view, count, signedAddress(at.offsets), true);
    const base = reader.read(at.relativeBase, 8);
    const value = new DataView(base.buffer, base.byteOffset, 8).getBigInt64(0, true);
    const again = reader.read(at.offsets, count * 4); // the first loan ended with the second read
    return decodeOffsets(
      new DataView(again.buffer, again.byteOffset, again.byteLength),
      count,
      checkExact(value),
      false,
    );
  }
  if (at.addresses === undefined) throw new FormatError("kallsyms", "neither addresses nor offsets are known");
  const bytes = reader.read(at.addresses, count * 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const addresses = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    // high and low words: BigInt for each of 150,000 would cost more than all the rest
    const high = view.getInt32(i * 8 + 4, true);
    if (high > 0x1fffff || high < -0x200000) {
      throw new FormatError(
        `kallsyms_addresses+0x${(i * 8).toString(16)}`,
        `${formatAddress(view.getBigUint64(i * 8, true))} is no address of a kernel`,
      );
    }
    addresses[i] = high * 2 ** 32 + view.getUint32(i * 8, true);
  }
  return { addresses, encoding: "absolute" as KallsymsEncoding };
}

function checkExact(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new FormatError("kallsyms_relative_base", `${formatAddress(BigInt.asUintN(64, value))} is no kernel address`);
  }
  return number;
}

/**
 * Signed addresses of `kallsyms_offsets`.
 * @param base signed: the relative base, or with `placeRelative` the table's own address
 */
export function decodeOffsets(
  view: DataView,
  count: number,
  base: number,
  placeRelative: boolean,
): { addresses: Float64Array; encoding: KallsymsEncoding } {
  const addresses = new Float64Array(count);
  if (placeRelative) {
    for (let i = 0; i < count; i++) addresses[i] = base + i * 4 + view.getInt32(i * 4, true);
    return { addresses, encoding: "place-relative" };
  }
  let percpu = false; // an image is below 2 GiB: without ABSOLUTE_PERCPU no offset has bit 31
  for (let i = 0; i < count && !percpu; i++) percpu = view.getInt32(i * 4, true) < 0;
  for (let i = 0; i < count; i++) {
    const offset = view.getInt32(i * 4, true);
    addresses[i] = !percpu ? base + (offset >>> 0) : offset >= 0 ? offset : base - 1 - offset;
  }
  return { addresses, encoding: percpu ? "percpu-absolute" : "base-relative" };
}

/** Row numbers in address order, or undefined when the rows are in order already (they are, in all known kernels). */
function sortRows(addresses: Float64Array): Uint32Array | undefined {
  let i = 1;
  while (i < addresses.length && compareAddresses(addresses[i - 1], addresses[i]) <= 0) i++;
  if (i >= addresses.length) return undefined;
  return Uint32Array.from(addresses.keys()).sort((a, b) => compareAddresses(addresses[a], addresses[b]) || a - b);
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
