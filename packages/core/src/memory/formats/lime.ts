// Memory that an acquisition tool read out of a running machine: LiME's ranges, each behind a header (LiME doc/README.md),
// and AVML's, whose ranges are snappy streams (avml src/image.rs). No registers, no notes: page tables and VMCOREINFO are
// looked for in the memory itself.
import { Cursor } from "../../bytes/cursor.ts";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import type { Dump, PhysicalMemory } from "../types.ts";
import { type FileRun, FileRunMemory, PHYSICAL_LIMIT } from "./file-runs.ts";
import { chunksOf, SnappyMemory } from "./snappy-chunks.ts";

/** {u32 magic; u32 version; u64 start; u64 end, inclusive; u64 reserved} */
const HEADER_SIZE = 32;
const LIME_MAGIC = 0x4c694d45;
const AVML_MAGIC = 0x4c4d5641;
/** AVML writes the packed size behind each stream. */
const TRAILER_SIZE = 8;
/** /proc/iomem names a few dozen ranges of RAM, AVML cuts each in pieces. */
const RANGE_LIMIT = 1 << 20;

/** What one header says; `end` is exclusive here. */
interface RangeHeader {
  readonly packed: boolean;
  readonly start: number;
  readonly length: number;
}

/**
 * Opens a LiME file (version 1 headers) or an AVML file (version 2), or one that mixes both.
 * @throws FormatError for a header that is none, UnsupportedError for another version, TruncatedError without a whole header
 */
export function openLime(source: ByteSource): Dump {
  const problems: string[] = [];
  const runs: FileRun[] = [];
  const chunks: FileRun[] = [];
  let compressed = false;
  let at = 0;
  for (let count = 0; at < source.size; count++) {
    if (count === RANGE_LIMIT)
      throw new FormatError(`${source.name}: 0x${at.toString(16)}`, "more ranges than any machine");
    if (at > 0 && at + HEADER_SIZE > source.size) {
      problems.push(`${source.name}: 0x${at.toString(16)}: ${source.size - at} bytes of a header: cut off`);
      break;
    }
    const range = readRange(source, at);
    at += HEADER_SIZE;
    if (range.packed) {
      compressed = true;
      const end = chunksOf(source, at, range.start, range.length, chunks, problems);
      if (end === undefined) break;
      at = end + TRAILER_SIZE;
      continue;
    }
    const there = Math.min(range.length, source.size - at);
    if (there > 0) runs.push({ physical: range.start, offset: at, length: there });
    if (there < range.length) {
      const claimed = `the range at physical 0x${range.start.toString(16)} has ${range.length} bytes`;
      problems.push(`${source.name}: 0x${at.toString(16)}: ${claimed}, the file ends after ${there}: cut off`);
    }
    at += range.length;
  }
  const physical = memoryOf(source, runs, chunks);
  if (physical.ranges.length === 0) throw new FormatError(source.name, "a LiME or AVML file without any memory");
  return {
    path: source.name,
    format: compressed ? "avml" : "lime",
    size: source.size,
    physical,
    cpus: [],
    notes: [],
    segments: [],
    incomplete: problems.length > 0,
    problems,
  };
}

function memoryOf(source: ByteSource, runs: readonly FileRun[], chunks: readonly FileRun[]): PhysicalMemory {
  if (chunks.length === 0) return new FileRunMemory(source, runs);
  if (runs.length === 0) return new SnappyMemory(source, chunks);
  throw new UnsupportedError(source.name, "a file with both compressed and plain ranges");
}

function readRange(source: ByteSource, at: number): RangeHeader {
  const part = `${source.name}: range header at 0x${at.toString(16)}`;
  if (at + HEADER_SIZE > source.size) throw new TruncatedError(part, HEADER_SIZE, source.size - at);
  const c = new Cursor(source.read(at, HEADER_SIZE), part);
  const magic = c.u32();
  const version = c.u32();
  if (magic !== LIME_MAGIC && magic !== AVML_MAGIC) throw c.error(`magic 0x${magic.toString(16)}`, 0);
  const packed = magic === AVML_MAGIC;
  if (version !== (packed ? 2 : 1)) {
    throw new UnsupportedError(c.where(4), `version ${version} of ${packed ? "an AVML" : "a LiME"} dump`);
  }
  const start = c.size64();
  const last = c.size64();
  if (last < start || last >= PHYSICAL_LIMIT)
    throw c.error(`a range from 0x${start.toString(16)} to 0x${last.toString(16)}`, 8);
  return { packed, start, length: last + 1 - start };
}
