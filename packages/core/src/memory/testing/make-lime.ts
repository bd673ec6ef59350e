// Small made-up LiME and AVML files.
import { crc32c } from "../../bytes/crc32c.ts";
import { ascii, concat } from "./make-elf.ts";

export interface Range {
  readonly start: number;
  readonly bytes: Uint8Array;
}

function header(magic: string, version: number, { start, bytes }: Range): Uint8Array {
  const out = new Uint8Array(32);
  const view = new DataView(out.buffer);
  out.set(ascii(magic));
  view.setUint32(4, version, true);
  view.setBigUint64(8, BigInt(start), true);
  view.setBigUint64(16, BigInt(start + bytes.length - 1), true);
  return out;
}

export function makeLime(ranges: readonly Range[]): Uint8Array {
  return concat(ranges.flatMap((range) => [header("EMiL", 1, range), range.bytes]));
}

export interface Chunk {
  readonly type: number;
  readonly data: Uint8Array;
  /** what it unpacks to */
  readonly content: Uint8Array;
}

export const plainChunk = (content: Uint8Array): Chunk => ({ type: 1, data: content, content });

function framed({ type, data, content }: Chunk): Uint8Array {
  const out = new Uint8Array(8 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, ((data.length + 4) << 8) | type, true);
  const sum = crc32c(content);
  view.setUint32(4, (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0, true);
  out.set(data, 8);
  return out;
}

/** An AVML file; each range's bytes come in the chunks that `chunksOf` makes of them. */
export function makeAvml(ranges: readonly Range[], chunksOf: (bytes: Uint8Array) => readonly Chunk[]): Uint8Array {
  return concat(
    ranges.flatMap((range) => {
      const identifier = concat([Uint8Array.of(0xff, 6, 0, 0), ascii("sNaPpY")]);
      const body = concat([identifier, ...chunksOf(range.bytes).map(framed)]);
      const trailer = new Uint8Array(8);
      new DataView(trailer.buffer).setBigUint64(0, BigInt(body.length), true);
      return [header("AVML", 2, range), body, trailer];
    }),
  );
}
