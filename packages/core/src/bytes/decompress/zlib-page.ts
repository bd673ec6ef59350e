// zlib streams of one memory page, as kdump dumps hold them by the thousand: fflate unpacks 3,800 pages in half the CPU
// time of pako, and checks no checksum, so Adler-32 is checked here (5 µs a page): a damaged page must not pass as code.
import { inflateSync } from "fflate";

/**
 * Unpacks the whole zlib stream `packed` into `out` and returns the bytes written.
 * @throws Error of any kind when the stream is broken or does not fit
 */
export type PageInflater = (packed: Uint8Array, out: Uint8Array) => number;

/** The PageInflater for every place, on fflate. A host with native zlib may bring a faster one. */
export function inflatePage(packed: Uint8Array, out: Uint8Array): number {
  // RFC 1950: CMF with method 8, header divisible by 31, no preset dictionary; Adler-32, big-endian, behind the data.
  if (packed.length < 8 || (packed[0] & 15) !== 8 || ((packed[0] << 8) | packed[1]) % 31 !== 0 || packed[1] & 32) {
    throw new Error("no zlib header");
  }
  const got = inflateSync(packed.subarray(2, packed.length - 4), { out });
  const view = new DataView(packed.buffer, packed.byteOffset + packed.length - 4, 4);
  if (adler32(got) !== view.getUint32(0)) throw new Error("the Adler-32 checksum differs");
  return got.length;
}

/** Adler-32 (RFC 1950). */
export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length; ) {
    // 5,552 is the most bytes before a 32-bit sum can overflow.
    const end = Math.min(bytes.length, at + 5552);
    for (; at < end; at++) {
      a += bytes[at];
      b += a;
    }
    a %= 65521;
    b %= 65521;
  }
  return ((b << 16) | a) >>> 0;
}
