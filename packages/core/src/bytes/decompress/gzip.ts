// gzip members (RFC 1952) on fflate's streaming inflate, which does not trust the size that a member claims. The
// header and the checksum are read here: a bzImage and a package may have bytes behind the member, which the
// packages at hand take for a broken second one.
import { Inflate } from "fflate";
import { Cursor } from "../cursor.ts";
import { FormatError, PalimpsestError, TruncatedError } from "../errors.ts";
import { BufferSource, type ByteSource } from "../source.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

const STEP = 256 * 1024;
/** Room for a long file name and extra field. */
const HEADER_MAX = 128 * 1024;
const HAS_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;

/**
 * Unpacks the first gzip member of `packed` to at most `limit` bytes, checksum verified; may throw anything when it
 * cannot, then the portable code below has the last word.
 */
export type NativeGunzip = (packed: Uint8Array, limit: number) => Uint8Array;

let native: NativeGunzip | undefined;

/** Lends the host's own gunzip, six times as fast in Node. undefined takes it back. */
export function setNativeGunzip(gunzip: NativeGunzip | undefined): void {
  native = gunzip;
}

/** Unpacks the gzip member at the start of `packed`, checksum verified; bytes behind the member are left alone. */
export function decompressGzip(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const out = new OutputBuffer(options, packed.length);
  if (native !== undefined) {
    try {
      const bytes = native(packed, out.limit);
      // Node gives a Buffer, whose slice() does not copy.
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    } catch {
      // Broken, too large, or the host's gunzip is stricter about what follows: the code below finds out.
    }
  }
  const source = new BufferSource(options.name, packed);
  const walk = gzipChunks(source);
  let step = walk.next();
  for (; !step.done; step = walk.next()) out.append(step.value);
  const bytes = out.finish();
  if (!hasTrailer(packed, Math.max(0, step.value - STEP), bytes)) {
    throw new FormatError(options.name, "broken gzip data (its checksum does not follow)");
  }
  return bytes;
}

/**
 * The same piece by piece, for what is too large to be held; here the checksum is not verified.
 * @returns where the last step with output started
 */
export function* gzipChunks(packed: ByteSource): Generator<Uint8Array, number> {
  const start = skipHeader(packed.read(0, Math.min(packed.size, HEADER_MAX)), packed.name);
  const ready: Uint8Array[] = [];
  const inflate = new Inflate((chunk) => {
    if (chunk.length > 0) ready.push(chunk);
  });
  let lastGrown = start;
  try {
    // fflate does not say that the stream has ended; two steps without output mean it has.
    for (let at = start; at < packed.size && at <= lastGrown + 2 * STEP; at += STEP) {
      inflate.push(new Uint8Array(packed.read(at, Math.min(STEP, packed.size - at))), false);
      if (ready.length > 0) lastGrown = at;
      yield* ready.splice(0);
    }
    inflate.push(new Uint8Array(), true); // throws when the stream has not ended
    yield* ready.splice(0);
  } catch (error) {
    if (error instanceof PalimpsestError || !(error instanceof Error)) throw error;
    if (error.message !== "unexpected EOF") throw new FormatError(packed.name, `broken gzip data (${error.message})`);
    throw new TruncatedError(`${packed.name}: gzip`, packed.size + 1, packed.size);
  }
  return lastGrown;
}

function skipHeader(packed: Uint8Array, name: string): number {
  const c = new Cursor(packed, `${name}: gzip header`);
  if (c.u16() !== 0x8b1f || c.u8() !== 8) throw c.error("no gzip magic", 0);
  const flags = c.u8();
  c.skip(6);
  if (flags & HAS_EXTRA) c.skip(c.u16());
  if (flags & HAS_NAME) c.cstring();
  if (flags & HAS_COMMENT) c.cstring();
  if (flags & HAS_CRC) c.skip(2);
  return c.offset;
}

/**
 * True when CRC-32 and length of `bytes` stand in `packed` at or behind `from`. fflate does not tell where the
 * stream ended within its last step, and the eight bytes are not met by chance.
 */
function hasTrailer(packed: Uint8Array, from: number, bytes: Uint8Array): boolean {
  const trailer = new Uint8Array(8);
  const view = new DataView(trailer.buffer);
  view.setUint32(0, crc32(bytes), true);
  view.setUint32(4, bytes.length % 2 ** 32, true);
  const tail = packed.subarray(from, from + 3 * STEP);
  for (let i = tail.indexOf(trailer[0]!); i >= 0 && i + 8 <= tail.length; i = tail.indexOf(trailer[0]!, i + 1)) {
    if (trailer.every((byte, k) => tail[i + k] === byte)) return true;
  }
  return false;
}

let table: Int32Array | undefined;

function crc32(bytes: Uint8Array): number {
  table ??= Int32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    return c;
  });
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
