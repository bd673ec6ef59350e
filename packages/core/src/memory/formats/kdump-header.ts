// The headers of a kdump-compressed file: `struct disk_dump_header` in block 0, `struct kdump_sub_header` in block 1
// (makedumpfile, diskdump_mod.h, header versions 1 to 6; QEMU, include/sysemu/dump.h, writes version 6).
import { formatAddress } from "../../bytes/brand.ts";
import { Cursor } from "../../bytes/cursor.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import { PAGE_SIZE } from "../types.ts";

/** uname -m of kernels that are met beside x86_64. */
const MACHINES: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^i[3-6]86$/, "a 32-bit x86 kernel"],
  [/^aarch64/, "an arm64 kernel"],
  [/^arm/, "a 32-bit ARM kernel"],
  [/^ppc/, "a PowerPC kernel"],
  [/^s390/, "an s390 kernel"],
  [/^riscv/, "a RISC-V kernel"],
];
export const KDUMP_INCOMPLETE = 8;
const UTSNAME = ["sysname", "nodename", "release", "version", "machine", "domainname"];
const UTSNAME_LENGTH = 65;
const HEADER_SIZE = 464;
const SUB_HEADER_SIZE = 104;
/** Page frames of 52 physical address bits. */
const FRAMES_LIMIT = 2 ** 40;

export interface FilePart {
  readonly offset: number;
  readonly length: number;
}

export interface KdumpHeader {
  readonly version: number;
  /** DUMP_DH_*: 1 zlib, 2 lzo, 4 snappy, 0x20 zstd, 8 incomplete. */
  readonly status: number;
  /** Page frame numbers are below this. */
  readonly maxFrame: number;
  /** File offset and bytes of both bitmaps together. */
  readonly bitmaps: FilePart;
  /** File offset of the first page descriptor. */
  readonly descriptors: number;
  readonly vmcoreinfo?: FilePart;
  readonly notes?: FilePart;
  /** Of makedumpfile --split: only pages of [start, end) are in this file. */
  readonly split?: { readonly start: number; readonly end: number };
  /** utsname members that are set, dump level and phys_base, for users. */
  readonly texts: Readonly<Record<string, string>>;
}

/** @throws FormatError, TruncatedError, UnsupportedError (pages that are not 4 KiB, another machine) */
export function readKdumpHeader(source: ByteSource): KdumpHeader {
  const c = new Cursor(source.read(0, Math.min(HEADER_SIZE, source.size)), `${source.name}: kdump header`);
  const version = c.seek(8).i32();
  if (version < 1 || version > 100) throw c.error(`header version ${version}`, 8);
  const texts: Record<string, string> = {};
  for (const name of UTSNAME) {
    const text = c.text(UTSNAME_LENGTH);
    if (text !== "") texts[name] = text;
  }
  if (texts.machine !== undefined && texts.machine !== "x86_64") {
    const kernel = MACHINES.find(([pattern]) => pattern.test(texts.machine))?.[1] ?? `a machine "${texts.machine}"`;
    throw new UnsupportedError(c.where(272), `a dump of ${kernel}`);
  }
  c.seek(424);
  const status = c.u32();
  const blockSize = c.u32();
  if (blockSize !== PAGE_SIZE) throw new UnsupportedError(c.where(428), `a page size of ${blockSize} bytes`);
  const subBlocks = c.u32();
  const bitmapBlocks = c.u32();
  let maxFrame = c.u32();
  if (subBlocks === 0 || subBlocks > 1 << 20) throw c.error(`sub header of ${subBlocks} blocks`, 432);

  // Members that a version does not have yet lie in the padding of its block: zero there, but not looked at.
  const s = new Cursor(source.read(PAGE_SIZE, SUB_HEADER_SIZE), source.name, PAGE_SIZE);
  const physBase = s.u64();
  texts.physBase = formatAddress(physBase);
  const dumpLevel = s.i32();
  if (version >= 2) texts.dumpLevel = String(dumpLevel);
  const isSplit = s.i32() !== 0 && version >= 2;
  let split = { start: s.size64(), end: s.size64() };
  const vmcoreinfo = part(s, version >= 3);
  const notes = part(s, version >= 4);
  part(s, version >= 5);
  if (version >= 6) {
    split = { start: s.size64(), end: s.size64() };
    const at = s.offset;
    const wide = s.size64();
    if (wide > FRAMES_LIMIT) throw s.error(`max_mapnr_64 0x${wide.toString(16)} is above 52 address bits`, at);
    if (wide > 0) maxFrame = wide; // max_mapnr is its low half only
  }
  const bitmaps = { offset: (1 + subBlocks) * PAGE_SIZE, length: bitmapBlocks * PAGE_SIZE };
  return {
    ...{ version, status, maxFrame, bitmaps, vmcoreinfo, notes, texts },
    descriptors: bitmaps.offset + bitmaps.length,
    split: isSplit ? split : undefined,
  };
}

function part(c: Cursor, present: boolean): FilePart | undefined {
  const offset = c.size64();
  const length = c.size64();
  return present && offset > 0 && length > 0 ? { offset, length } : undefined;
}
