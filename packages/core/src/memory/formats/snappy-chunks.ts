// Physical memory in a stream of snappy chunks (google/snappy framing_format.txt), as AVML writes each range of memory: an
// index of the chunks is made once, a chunk is unpacked when one of its pages is asked for.
import { crc32c } from "../../bytes/crc32c.ts";
import { snappyLength, unsnappy } from "../../bytes/decompress/snappy.ts";
import { FormatError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import { PAGE_SIZE } from "../types.ts";
import { type FileRun, RunMemory } from "./file-runs.ts";

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

/** What two ranges claim is the first one's: AVML writes none twice. */
function withoutOverlaps(chunks: readonly FileRun[]): FileRun[] {
  let end = 0;
  return [...chunks]
    .sort((a, b) => a.physical - b.physical)
    .filter((chunk) => {
      if (chunk.physical < end) return false;
      end = chunk.physical + chunk.length;
      return true;
    });
}

/** PhysicalMemory over chunks that lie inside the source. */
export class SnappyMemory extends RunMemory {
  /** chunk → its bytes; the oldest goes first */
  private readonly cache = new Map<number, Uint8Array>();

  constructor(
    private readonly source: ByteSource,
    chunks: readonly FileRun[],
  ) {
    super(withoutOverlaps(chunks));
  }

  protected lend(index: number, inside: number): Uint8Array {
    return this.unpacked(index).subarray(inside, inside + PAGE_SIZE);
  }

  protected fill(index: number, inside: number, into: Uint8Array): void {
    into.set(this.unpacked(index).subarray(inside, inside + into.length));
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
}
