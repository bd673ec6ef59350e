// kdump-compressed dumps (makedumpfile's default, QEMU's kdump-zlib): bitmaps say which pages there are, one descriptor a
// page says where its packed bytes lie. Nothing is unpacked before it is asked for.

import type { PhysicalAddress } from "../../bytes/brand.ts";
import { unlzo } from "../../bytes/decompress/lzo.ts";
import { unsnappy } from "../../bytes/decompress/snappy.ts";
import { inflatePage, type PageInflater } from "../../bytes/decompress/zlib-page.ts";
import { decompressZstd } from "../../bytes/decompress/zstd.ts";
import type { ElfNote } from "../../bytes/elf.ts";
import { FormatError, PalimpsestError, TruncatedError } from "../../bytes/errors.ts";
import { type ByteSource, readInto } from "../../bytes/source.ts";
import type { Dump, PhysicalMemory, PhysicalRange } from "../types.ts";
import { PAGE_SIZE } from "../types.ts";
import { cpuNotes, trimNul, vmcoreinfoText } from "./cpu-notes.ts";
import { rangesOf } from "./file-runs.ts";
import { type FilePart, KDUMP_INCOMPLETE, type KdumpHeader, readKdumpHeader } from "./kdump-header.ts";
import { notesAt } from "./note-list.ts";
import { PageBitmap } from "./page-bitmap.ts";

const ZLIB = 1;
const LZO = 2;
const SNAPPY = 4;
const ZSTD = 0x20;
const DESCRIPTOR_SIZE = 24;
// A packed page is smaller than the page, else it is stored as it is; the rest is room for odd writers.
const PACKED_LIMIT = 2 * PAGE_SIZE;
const VMCOREINFO_LIMIT = 1 << 20;
// 32 MiB of pages at most: small reads of a kernel wander over some 20 MiB of data and tables.
const CACHE_MASK = 8191;
// A page packed to less is the zero page or like it, which a dump has thousands of: unpacked once.
const SHARED_SIZE = 64;

/**
 * Opens a kdump-compressed dump.
 * @param format "kdump", or what the file that it was unwrapped from is called
 * @throws FormatError, TruncatedError (headers or bitmaps broken), UnsupportedError (page size, machine)
 */
export function openKdump(source: ByteSource, format = "kdump", inflate: PageInflater = inflatePage): Dump {
  const header = readKdumpHeader(source);
  const problems: string[] = [];
  if ((header.status & KDUMP_INCOMPLETE) !== 0) {
    problems.push(`${source.name}: kdump header: the dump is marked incomplete (its writer ran out of space)`);
  }
  if (header.split !== undefined) {
    const { start, end } = header.split;
    problems.push(`${source.name}: kdump header: one part of a split dump, page frames ${start} to ${end} only`);
  }
  const physical = new KdumpMemory(source, header, inflate, problems);
  const incomplete = problems.length > 0;
  const notes = header.notes === undefined ? [] : partNotes(source, header.notes, problems);
  return {
    path: source.name,
    format,
    size: source.size,
    physical,
    vmcoreinfo: vmcoreinfoOf(source, header.vmcoreinfo, problems) ?? vmcoreinfoText(notes),
    cpus: cpuNotes(notes, problems),
    notes,
    segments: [],
    header: header.texts,
    incomplete,
    problems,
  };
}

/** Descriptors that are asked for a codec that the header does not name. */
const ASKED = 64;

/** By the header's word, or by what the first page descriptors say. @throws as openKdump does */
export function hasZstdPages(source: ByteSource): boolean {
  const { status, descriptors } = readKdumpHeader(source);
  if ((status & ZSTD) !== 0) return true;
  const there = Math.max(0, Math.min(ASKED * DESCRIPTOR_SIZE, source.size - descriptors));
  const bytes = source.read(descriptors, there - (there % DESCRIPTOR_SIZE)).slice();
  const view = new DataView(bytes.buffer);
  for (let at = 12; at < bytes.length; at += DESCRIPTOR_SIZE) if ((view.getUint32(at, true) & ZSTD) !== 0) return true;
  return false;
}

function partNotes(source: ByteSource, part: FilePart, problems: string[]): ElfNote[] {
  const there = Math.max(0, Math.min(part.length, source.size - part.offset));
  try {
    return notesAt(source, part.offset, there, problems);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(error.message);
    return [];
  }
}

function vmcoreinfoOf(source: ByteSource, part: FilePart | undefined, problems: string[]): string | undefined {
  if (part === undefined) return undefined;
  try {
    return trimNul(source.read(part.offset, Math.min(part.length, VMCOREINFO_LIMIT)));
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** A page whose bytes the file does not have (cut off, a flattened record lost) is absent; `problems` tells why. */
function unlessCut(unpack: () => Uint8Array | undefined): Uint8Array | undefined {
  try {
    return unpack();
  } catch (error) {
    if (error instanceof TruncatedError) return undefined;
    throw error;
  }
}

class KdumpMemory implements PhysicalMemory {
  private readonly existing: PageBitmap;
  private readonly dumped: PageBitmap;
  private readonly firstRank: number;
  private readonly tags = new Float64Array(CACHE_MASK + 1).fill(-1);
  private readonly pages: Uint8Array[] = [];
  private readonly shared = new Uint8Array(PAGE_SIZE);
  private sharedOffset = -1;
  private readonly descriptor = new DataView(new ArrayBuffer(DESCRIPTOR_SIZE));
  private readonly descriptorBytes = new Uint8Array(this.descriptor.buffer);
  private madeRanges: readonly PhysicalRange[] | undefined;
  private madeHeld: readonly PhysicalRange[] | undefined;
  /** The file is known to end early, so that pages past its end are absent, not broken. */
  private readonly cut: boolean;

  constructor(
    private readonly source: ByteSource,
    private readonly header: KdumpHeader,
    private readonly inflate: PageInflater,
    problems: string[],
  ) {
    const { bitmaps, maxFrame, split } = header;
    // One bitmap of the first makedumpfile or two of the same length, each in whole blocks: told by the size, as crash does.
    const need = Math.ceil(maxFrame / (8 * PAGE_SIZE)) * PAGE_SIZE;
    if (bitmaps.length < need) {
      throw new FormatError(`${source.name}: kdump header`, `bitmaps of ${bitmaps.length} bytes for ${maxFrame} pages`);
    }
    const two = bitmaps.length >= 2 * need;
    const half = bitmaps.length / 2;
    this.dumped = new PageBitmap(source, bitmaps.offset + (two ? half : 0), maxFrame);
    this.existing = two ? new PageBitmap(source, bitmaps.offset, maxFrame) : this.dumped;
    if (this.dumped.frames === 0) {
      throw new TruncatedError(`${source.name}: bitmaps at 0x${bitmaps.offset.toString(16)}`, need, 0);
    }
    if (this.dumped.frames < maxFrame) {
      problems.push(`${source.name}: bitmaps: bits for ${this.dumped.frames} of ${maxFrame} pages are in the file`);
    }
    this.firstRank = split === undefined ? 0 : this.rankFrom(split.start);
    this.checkEnd(problems);
    this.cut = problems.length > 0;
  }

  get ranges(): readonly PhysicalRange[] {
    this.madeRanges ??= rangesOf(this.existing.runs());
    return this.madeRanges;
  }

  get held(): readonly PhysicalRange[] {
    this.madeHeld ??= rangesOf(this.dumped.runs());
    return this.madeHeld;
  }

  page(pfn: number): Uint8Array | undefined {
    if (this.tags[pfn & CACHE_MASK] === pfn) return this.pages[pfn & CACHE_MASK];
    return unlessCut(() => (this.find(pfn) ? this.unpacked(pfn) : undefined));
  }

  /** The page of the current descriptor, put into the cache. */
  private unpacked(pfn: number): Uint8Array {
    const offset = this.fieldOffset();
    if (this.packedSize() <= SHARED_SIZE) {
      if (this.sharedOffset !== offset) {
        this.sharedOffset = -1;
        this.unpack(pfn, offset, this.shared);
        this.sharedOffset = offset;
      }
      return this.shared;
    }
    const slot = pfn & CACHE_MASK;
    this.pages[slot] ??= new Uint8Array(PAGE_SIZE);
    this.tags[slot] = -1;
    this.unpack(pfn, offset, this.pages[slot]);
    this.tags[slot] = pfn;
    return this.pages[slot];
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    const start = Number(address);
    let missing = 0;
    let done = 0;
    while (done < into.length) {
      const inside = (start + done) % PAGE_SIZE;
      const pfn = (start + done - inside) / PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - inside, into.length - done);
      const target = into.subarray(done, done + length);
      if (this.copyPage(pfn, inside, target)) {
        if (missing > 0) absent(done - missing, missing);
        missing = 0;
      } else {
        target.fill(0);
        missing += length;
      }
      done += length;
    }
    if (missing > 0) absent(done - missing, missing);
  }

  private copyPage(pfn: number, inside: number, target: Uint8Array): boolean {
    const whole = target.length === PAGE_SIZE && this.tags[pfn & CACHE_MASK] !== pfn;
    const page = whole ? unlessCut(() => this.unpackInto(pfn, target)) : this.page(pfn);
    if (page === target) return true;
    if (page !== undefined) target.set(page.subarray(inside, inside + target.length));
    return page !== undefined;
  }

  /** A whole page straight to where it is wanted: bulk reads do not turn the cache over. */
  private unpackInto(pfn: number, target: Uint8Array): Uint8Array | undefined {
    if (!this.find(pfn)) return undefined;
    if (this.packedSize() <= SHARED_SIZE) return this.unpacked(pfn);
    this.unpack(pfn, this.fieldOffset(), target);
    return target;
  }

  /** Reads the descriptor of a page; false when the dump does not hold it. */
  private find(pfn: number): boolean {
    const { split, descriptors } = this.header;
    if (split !== undefined && !(pfn >= split.start && pfn < split.end)) return false;
    const rank = this.dumped.rank(pfn);
    if (rank < 0) return false;
    const at = descriptors + (rank - this.firstRank) * DESCRIPTOR_SIZE;
    // A file that was cut off, or whose writer ran out of space (offset 0): absent, told once in `problems`.
    if (at + DESCRIPTOR_SIZE > this.source.size) return false;
    this.descriptorBytes.set(this.source.read(at, DESCRIPTOR_SIZE));
    const offset = this.fieldOffset();
    const end = offset + this.packedSize();
    if (offset === 0 || (this.cut && end > this.source.size)) return false;
    if (end > this.source.size) {
      const where = `${this.source.name}: page frame 0x${pfn.toString(16)}, descriptor at 0x${at.toString(16)}`;
      throw new FormatError(where, `its data at 0x${offset.toString(16)} would end past the file's end`);
    }
    return true;
  }

  private fieldOffset(): number {
    return this.descriptor.getUint32(4, true) * 2 ** 32 + this.descriptor.getUint32(0, true);
  }

  private packedSize(): number {
    return this.descriptor.getUint32(8, true);
  }

  /** Unpacks the page of the current descriptor. */
  private unpack(pfn: number, offset: number, out: Uint8Array): void {
    const size = this.packedSize();
    const flags = this.descriptor.getUint32(12, true);
    const where = () => `${this.source.name}: page frame 0x${pfn.toString(16)} at 0x${offset.toString(16)}`;
    if (size > PACKED_LIMIT) throw new FormatError(where(), `a page packed to ${size} bytes`);
    let got = size;
    switch (flags & (ZLIB | LZO | SNAPPY | ZSTD)) {
      case 0:
        if (size === PAGE_SIZE) readInto(this.source, offset, out);
        break;
      case ZLIB:
        got = this.inflateAt(offset, size, out, where);
        break;
      case ZSTD: {
        const bytes = decompressZstd(this.source.read(offset, size), {
          ...{ name: where(), sizeHint: PAGE_SIZE, limit: PAGE_SIZE },
        });
        got = bytes.length;
        if (got === PAGE_SIZE) out.set(bytes);
        break;
      }
      case LZO:
        got = unlzo(this.source.read(offset, size), out, where());
        break;
      case SNAPPY:
        got = unsnappy(this.source.read(offset, size), out, where());
        break;
      default:
        throw new FormatError(where(), `page flags 0x${flags.toString(16)} name several codecs`);
    }
    if (got !== PAGE_SIZE) throw new FormatError(where(), `unpacks to ${got} bytes, not ${PAGE_SIZE}`);
  }

  private inflateAt(offset: number, size: number, out: Uint8Array, where: () => string): number {
    const packed = this.source.read(offset, size); // outside the try: what is cut off is not broken
    try {
      return this.inflate(packed, out);
    } catch (error) {
      throw new FormatError(where(), `broken zlib data (${error instanceof Error ? error.message : String(error)})`);
    }
  }

  /** Index of the first descriptor of a split dump: bits set before its first frame. */
  private rankFrom(frame: number): number {
    for (let at = frame; at < this.dumped.frames; at++) {
      const rank = this.dumped.rank(at);
      if (rank >= 0) return rank;
    }
    return this.dumped.count;
  }

  /** The last page's descriptor and bytes tell whether the file is whole. */
  private checkEnd(problems: string[]): void {
    const { split, descriptors, status } = this.header;
    const count = this.dumped.count;
    if (split !== undefined || count === 0 || (status & KDUMP_INCOMPLETE) !== 0) return;
    const { name, size } = this.source;
    const end = descriptors + count * DESCRIPTOR_SIZE;
    if (end > size) {
      const there = Math.max(0, Math.floor((size - descriptors) / DESCRIPTOR_SIZE));
      problems.push(`${name}: page descriptors: ${count} pages claimed, the file ends after ${there} descriptors`);
      return;
    }
    try {
      this.descriptorBytes.set(this.source.read(end - DESCRIPTOR_SIZE, DESCRIPTOR_SIZE));
    } catch (error) {
      if (!(error instanceof TruncatedError)) throw error;
      problems.push(`${name}: page descriptors: the last of ${count} is not there: cut off`);
      return;
    }
    const last = this.fieldOffset() + this.packedSize();
    if (last > size) {
      problems.push(
        `${name}: the file ends at 0x${size.toString(16)}, its last page at 0x${last.toString(16)}: cut off`,
      );
    }
  }
}
