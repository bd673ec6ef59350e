// lzop files with LZO1X blocks, as `lzop -9` packs a kernel and lib/decompress_unlzo.c unpacks it. The packages at
// hand either need a whole lzop-less stream or ship no source; the format is Documentation/staging/lzo.rst.
import { Cursor } from "../cursor.ts";
import { FormatError } from "../errors.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

/** F_… flags of lzop: which checksums stand before a block. */
const ADLER32_PLAIN = 0x1;
const ADLER32_PACKED = 0x2;
const CRC32_PLAIN = 0x100;
const CRC32_PACKED = 0x200;
const HAS_FILTER = 0x800;
/** LZO_BLOCK_SIZE of lib/decompress_unlzo.c is 256 KiB; lzop itself allows 64 MiB. */
const BLOCK_MAX = 64 * 1024 * 1024;

/** Unpacks an lzop file up to its end mark; bytes behind it are left alone. Checksums are not verified. */
export function decompressLzo(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const c = new Cursor(packed, `${options.name}: lzop`);
  const be16 = () => (c.u8() << 8) | c.u8();
  const be32 = () => be16() * 0x10000 + be16();
  const flags = skipHeader(c, be16, be32);
  const out = new OutputBuffer(options, packed.length);
  for (;;) {
    const at = c.offset;
    const plainSize = be32();
    if (plainSize === 0) return out.finish();
    const size = be32();
    if (size === 0 || size > plainSize || plainSize > BLOCK_MAX) {
      throw c.error(`block of ${plainSize} bytes packed into ${size}`, at);
    }
    let checksums = (flags & ADLER32_PLAIN ? 4 : 0) + (flags & CRC32_PLAIN ? 4 : 0);
    if (size < plainSize) checksums += (flags & ADLER32_PACKED ? 4 : 0) + (flags & CRC32_PACKED ? 4 : 0);
    c.skip(checksums);
    const part = c.where();
    const block = c.takeBytes(size);
    if (size === plainSize) {
      out.append(block);
    } else {
      // LZO1X makes at most 255 bytes out of one, so that a false size can reserve no more than that.
      out.reserve(Math.min(plainSize, 256 * size));
      const end = decodeLzo1x(block, out.bytes, out.length, Math.min(out.bytes.length, out.length + plainSize), part);
      if (end - out.length !== plainSize) {
        throw new FormatError(part, `block unpacks to ${end - out.length} bytes, not ${plainSize}`);
      }
      out.length = end;
    }
  }
}

/** @returns the flags word */
function skipHeader(c: Cursor, be16: () => number, be32: () => number): number {
  c.skip(9); // magic
  const version = be16();
  c.skip(5); // library version, version needed, method
  if (version >= 0x940) c.skip(1); // level
  const flags = be32();
  if (flags & HAS_FILTER) c.skip(4);
  c.skip(version >= 0x940 ? 12 : 8); // mode, mtime
  c.skip(c.u8()); // file name
  c.skip(4); // header checksum
  return flags;
}

/**
 * Unpacks one LZO1X block, as a kdump page packed with `makedumpfile -l` is, to the start of `out`; returns the bytes written.
 * @throws FormatError when the block is broken or unpacks to more than `out` holds
 */
export function unlzo(packed: Uint8Array, out: Uint8Array, part: string): number {
  if (packed.length === 0) throw new FormatError(part, "an empty LZO block");
  return decodeLzo1x(packed, out, 0, out.length, part);
}

/** @returns where in `output` the block's data end; they begin at `start` and may go up to `limit` */
function decodeLzo1x(input: Uint8Array, output: Uint8Array, start: number, limit: number, part: string): number {
  let at = 0;
  let to = start;
  /** Literals just copied, which decides what an instruction below 16 means; 4 stands for a long run. */
  let state = 0;
  const fail = (what: string): never => {
    throw new FormatError(`${part}+0x${at.toString(16)}`, what);
  };
  const byte = (): number => (at < input.length ? input[at++]! : fail("LZO block ends inside an instruction"));
  const extended = (short: number, base: number): number => {
    if (short !== 0) return short;
    let length = base;
    let next = byte();
    for (; next === 0; next = byte()) length += 255;
    return length + next;
  };
  const literals = (length: number): void => {
    if (length > input.length - at) fail(`${length} literals run past the block`);
    if (length > limit - to) fail("more than the block's size");
    for (let i = 0; i < length; i++) output[to + i] = input[at + i]!;
    at += length;
    to += length;
  };
  const match = (length: number, distance: number, after: number): void => {
    if (distance > to - start) fail(`match ${distance} bytes back, before the block`);
    if (length > limit - to) fail("more than the block's size");
    for (let i = 0; i < length; i++) output[to + i] = output[to - distance + i]!;
    to += length;
    literals(after);
    state = after;
  };
  if (input[0]! > 17) {
    const length = byte() - 17;
    literals(length);
    state = Math.min(length, 4);
  }
  for (;;) {
    const op = byte();
    if (op >= 64) {
      const high = byte();
      match(op >= 128 ? 5 + ((op >> 5) & 3) : 3 + ((op >> 5) & 1), (high << 3) + ((op >> 2) & 7) + 1, op & 3);
    } else if (op >= 32) {
      const length = extended(op & 31, 31) + 2;
      const low = byte();
      match(length, ((low | (byte() << 8)) >> 2) + 1, low & 3);
    } else if (op >= 16) {
      const length = extended(op & 7, 7) + 2;
      const low = byte();
      const distance = 0x4000 + ((op & 8) << 11) + ((low | (byte() << 8)) >> 2);
      if (distance === 0x4000) return to; // the end mark
      match(length, distance, low & 3);
    } else if (state === 0) {
      literals(extended(op, 15) + 3);
      state = 4;
    } else {
      const far = state === 4 ? 2049 : 1;
      match(state === 4 ? 3 : 2, (byte() << 2) + (op >> 2) + far, op & 3);
    }
  }
}
