// Physical memory in a stream of snappy chunks (google/snappy framing_format.txt), as AVML writes each range of memory: an
// index of the chunks is made once, a chunk is unpacked when one of its pages is asked for.
import type { PhysicalAddress } from "../bytes/brand.ts";
import { crc32c } from "../bytes/crc32c.ts";
import { snappyLength, unsnappy } from "../bytes/decompress/snappy.ts";
import { FormatError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import { type FileRun, rangesOf } from "./file-runs.ts";
import { PAGE_SIZE, type PhysicalMemory, type PhysicalRange } from "./types.ts";

const COMPRESSED = 0x00;
const UNCOMPRESSED = 0x01;
/** Types 0x02 to 0x7f must not be skipped; what is above may be. */
const SKIPPABLE = 0x80;
/** A chunk unpacks to at most 64 KiB. */
const CHUNK_LIMIT = 1 << 16;
/** {u8 type; u24 length}, and a masked CRC-32C before the data */
const HEADER_SIZE = 4;
const CRC_SIZE = 4;
const CACHED = 256; // 16 MiB

/**
 * Lists the chunks of one range from file offset `at` on: `length` bytes of memory from physical address `start`.
 * @param chunks gets {physical, offset of the chunk's header, unpacked length} appended
 * @returns the offset behind the last chunk; undefined when the file ends first, told in `problems`
 * @throws FormatError for what is no chunk
 */
export function chunksOf(
  source: ByteSource,
  at: number,
  start: number,
  length: number,
  chunks: FileRun[],
  problems: string[],
): number | undefined {
  let done = 0;
  while (done < length) {
    const part = `${source.name}: chunk at 0x${at.toString(16)}`;
    const head = source.read(at, Math.min(HEADER_SIZE + CRC_SIZE + 5, Math.max(0, source.size - at)));
    const size = head.length < HEADER_SIZE ? 0 : head[1] | (head[2] << 8) | (head[3] << 16);
    if (head.length < HEADER_SIZE || at + HEADER_SIZE + size > source.size) {
      const range = `physical 0x${start.toString(16)} + 0x${done.toString(16)}`;
      problems.push(`${part}: the file ends inside a range of ${length} bytes, at ${range}: cut off`);
      return undefined;
    }
    const type = head[0];
    if (type === COMPRESSED || type === UNCOMPRESSED) {
      if (size < CRC_SIZE) throw new FormatError(part, `a chunk of ${size} bytes, too short for its checksum`);
      const data = head.subarray(HEADER_SIZE + CRC_SIZE);
      const unpacked = type === UNCOMPRESSED ? size - CRC_SIZE : snappyLength(data, part).length;
      if (unpacked > CHUNK_LIMIT || unpacked > length - done) {
        throw new FormatError(
          part,
          `a chunk of ${unpacked} bytes, more than is left of its range or than a chunk may hold`,
        );
      }
      if (unpacked > 0) chunks.push({ physical: start + done, offset: at, length: unpacked });
      done += unpacked;
    } else if (type < SKIPPABLE) {
      throw new FormatError(part, `snappy chunk type 0x${type.toString(16)}`);
    }
    at += HEADER_SIZE + size;
  }
  return at;
}

/** PhysicalMemory over chunks that lie inside the source. */
export class SnappyMemory implements PhysicalMemory {
  readonly ranges: readonly PhysicalRange[];
  private readonly starts: Float64Array;
  private readonly lengths: Uint32Array;
  private readonly offsets: Float64Array;
  /** chunk → its bytes; the oldest goes first */
  private readonly cache = new Map<number, Uint8Array>();

  constructor(
    private readonly source: ByteSource,
    chunks: readonly FileRun[],
  ) {
    let end = 0;
    // What two ranges claim is the first one's: AVML writes none twice.
    const sorted = [...chunks]
      .sort((a, b) => a.physical - b.physical)
      .filter((chunk) => {
        if (chunk.physical < end) return false;
        end = chunk.physical + chunk.length;
        return true;
      });
    this.ranges = rangesOf(sorted);
    this.starts = Float64Array.from(sorted, (chunk) => chunk.physical);
    this.lengths = Uint32Array.from(sorted, (chunk) => chunk.length);
    this.offsets = Float64Array.from(sorted, (chunk) => chunk.offset);
  }

  page(pfn: number): Uint8Array | undefined {
    const address = pfn * PAGE_SIZE;
    const index = this.chunkAt(address);
    if (index < 0 || this.starts[index] > address) return undefined;
    const inside = address - this.starts[index];
    if (inside + PAGE_SIZE <= this.lengths[index]) return this.unpacked(index).subarray(inside, inside + PAGE_SIZE);
    const bytes = new Uint8Array(PAGE_SIZE);
    let whole = true;
    this.copy(address, bytes, () => {
      whole = false;
    });
    return whole ? bytes : undefined;
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    this.copy(Number(address), into, absent);
  }

  private copy(address: number, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    let done = 0;
    while (done < into.length) {
      const at = address + done;
      const index = this.chunkAt(at);
      const start = index < 0 ? Number.POSITIVE_INFINITY : this.starts[index];
      const left = into.length - done;
      if (start > at) {
        const gap = Math.min(left, start - at);
        into.fill(0, done, done + gap);
        absent(done, gap);
        done += gap;
        continue;
      }
      const bytes = this.unpacked(index).subarray(at - start, at - start + left);
      into.set(bytes, done);
      done += bytes.length;
    }
  }

  private unpacked(index: number): Uint8Array {
    const known = this.cache.get(index);
    if (known !== undefined) return known;
    const out = new Uint8Array(this.lengths[index]);
    this.unpack(this.offsets[index], out);
    if (this.cache.size >= CACHED) {
      const oldest = this.cache.keys().next().value;
      if (oldest !== undefined) this.cache.delete(oldest);
    }
    this.cache.set(index, out);
    return out;
  }

  private unpack(offset: number, out: Uint8Array): void {
    const part = `${this.source.name}: chunk at 0x${offset.toString(16)}`;
    const head = this.source.read(offset, HEADER_SIZE);
    const type = head[0];
    const size = head[1] | (head[2] << 8) | (head[3] << 16);
    const body = this.source.read(offset + HEADER_SIZE, size);
    const data = body.subarray(CRC_SIZE);
    if (type === UNCOMPRESSED) out.set(data);
    else unsnappy(data, out, part);
    // Masked as framing_format.txt says, so that a checksum of data with checksums in it is none of those.
    const sum = crc32c(out);
    const masked = (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
    const stored = (body[0] | (body[1] << 8) | (body[2] << 16) | (body[3] << 24)) >>> 0;
    if (masked !== stored) throw new FormatError(part, "the CRC-32C checksum differs");
  }

  /** The chunk that holds `address`, else the first one behind it, else -1. */
  private chunkAt(address: number): number {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle] + this.lengths[middle] > address) high = middle;
      else low = middle + 1;
    }
    return low === this.starts.length ? -1 : low;
  }
}
