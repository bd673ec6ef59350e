// The legacy LZ4 frame (magic 02 21 4c 18), which is what `lz4 -l` writes and lib/decompress_unlz4.c reads. The
// packages at hand read only the modern frame, and the block format is forty lines.
import { FormatError, TruncatedError } from "../errors.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

export const LZ4_LEGACY_MAGIC = 0x184c2102;
/** LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE of lib/decompress_unlz4.c */
const CHUNK = 8 * 1024 * 1024;

/** Unpacks a legacy LZ4 frame: u32 packed size + block, each of at most 8 MiB, up to the end or a zero size. */
export function decompressLz4Legacy(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const out = new OutputBuffer(options, packed.length);
  if (packed.length < 4 || view.getUint32(0, true) !== LZ4_LEGACY_MAGIC) {
    throw new FormatError(options.name, "no legacy LZ4 frame");
  }
  let at = 4;
  while (at + 4 <= packed.length) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === LZ4_LEGACY_MAGIC) continue; // frames put behind each other
    if (size === 0) break;
    if (at + size > packed.length) {
      throw new TruncatedError(`${options.name}: LZ4 block at 0x${at.toString(16)}`, size, packed.length - at);
    }
    out.reserve(Math.min(CHUNK, 255 * size, out.limit - out.length));
    out.length = decodeBlock(packed, at, at + size, out, options.name);
    at += size;
  }
  return out.finish();
}

/** @returns the output's length after the block */
function decodeBlock(input: Uint8Array, from: number, end: number, out: OutputBuffer, name: string): number {
  const output = out.bytes;
  const start = out.length;
  const limit = Math.min(output.length, start + CHUNK);
  const broken = (at: number, what: string) =>
    new FormatError(`${name}: LZ4 block+0x${(at - from).toString(16)}`, what);
  let at = from;
  let to = start;
  while (at < end) {
    const token = input[at++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255 && at < end) literals += more = input[at++]!;
    }
    if (literals > end - at) throw broken(at, `${literals} literals run past the block`);
    if (literals > limit - to) throw broken(at, "more than a block may hold");
    if (literals > 32) output.set(input.subarray(at, at + literals), to);
    else for (let i = 0; i < literals; i++) output[to + i] = input[at + i]!;
    at += literals;
    to += literals;
    if (at === end) return to; // the last sequence has no match
    if (at + 2 > end) throw broken(at, "ends inside a match");
    const distance = input[at]! | (input[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more = 255;
      while (more === 255 && at < end) length += more = input[at++]!;
    }
    if (distance === 0 || distance > to - start) throw broken(at, `match ${distance} bytes back, before the block`);
    if (length > limit - to) throw broken(at, "more than a block may hold");
    if (distance >= length && length > 32) output.copyWithin(to, to - distance, to - distance + length);
    else for (let i = 0; i < length; i++) output[to + i] = output[to - distance + i]!;
    to += length;
  }
  throw broken(at, "the last sequence has no literals");
}
