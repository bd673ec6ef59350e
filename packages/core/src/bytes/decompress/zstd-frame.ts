// The frames and blocks of zstd (RFC 8878) walked without unpacking: where a frame ends, and the most that it can
// become. The unpacker below it wants exactly one frame and a buffer that is surely large enough.
import { Cursor } from "../cursor.ts";

export const ZSTD_MAGIC = 0xfd2fb528;
const BLOCK_MAX = 128 * 1024;

export interface ZstdFrame {
  /** Bytes of the packed frame, header, blocks and checksum together. */
  readonly packedLength: number;
  /** Skippable frames carry nothing. */
  readonly skippable: boolean;
  /** What the header claims, when it does. */
  readonly contentSize?: number;
  /** The most that the frame's blocks can unpack to. */
  readonly bound: number;
}

/** The frame at the start of `bytes`; undefined when there is no frame magic. @throws FormatError, TruncatedError */
export function readZstdFrame(bytes: Uint8Array, name: string): ZstdFrame | undefined {
  if (bytes.length < 4) return undefined;
  const c = new Cursor(bytes, `${name}: zstd frame`);
  const magic = c.u32();
  if (magic >>> 4 === 0x184d2a5) {
    c.skip(c.u32());
    return { packedLength: c.offset, skippable: true, bound: 0 };
  }
  if (magic !== ZSTD_MAGIC) return undefined;
  const descriptor = c.u8();
  if (descriptor & 8) throw c.error("reserved bit of the frame header is set", 4);
  const singleSegment = (descriptor & 0x20) !== 0;
  if (!singleSegment) c.skip(1);
  c.skip([0, 1, 2, 4][descriptor & 3]!);
  const contentSize = readContentSize(c, descriptor >>> 6, singleSegment);
  let bound = 0;
  for (;;) {
    const at = c.offset;
    const header = c.u16() | (c.u8() << 16);
    const size = header >>> 3;
    const type = (header >>> 1) & 3;
    if (type === 3) throw c.error("reserved block type", at);
    // A block stands for at most 128 KiB whatever its type (RFC 8878, 3.1.1.2.4), and RLE packs it into one byte.
    if (size > BLOCK_MAX) throw c.error(`block of ${size} bytes`, at);
    bound += type === 2 ? BLOCK_MAX : size;
    c.skip(type === 1 ? 1 : size);
    if (header & 1) break;
  }
  if (descriptor & 4) c.skip(4);
  return { packedLength: c.offset, skippable: false, contentSize, bound };
}

function readContentSize(c: Cursor, flag: number, singleSegment: boolean): number | undefined {
  if (flag === 0) return singleSegment ? c.u8() : undefined;
  if (flag === 1) return c.u16() + 256;
  return flag === 2 ? c.u32() : c.size64();
}
