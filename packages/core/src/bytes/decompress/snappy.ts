// Snappy blocks (google/snappy, format_description.txt): kdump pages that makedumpfile packed with -p, and the chunks of
// AVML's files. The npm packages read into buffers of the size that the data claim; here the room is given.
import { FormatError } from "../errors.ts";

/** The length that a block claims to unpack to (a varint at its start), and where its elements begin. @throws FormatError */
export function snappyLength(packed: Uint8Array, part: string): { length: number; start: number } {
  let length = 0;
  for (let i = 0; i < 5; i++) {
    if (i >= packed.length) break;
    length += (packed[i] & 0x7f) * 2 ** (7 * i);
    if (packed[i] < 0x80) return { length, start: i + 1 };
  }
  throw new FormatError(part, "no length at the start of a snappy block");
}

/**
 * Unpacks one block to the start of `out` and returns the bytes written.
 * @throws FormatError when the block is broken, or unpacks to another length than it claims, or to more than `out` holds
 */
export function unsnappy(packed: Uint8Array, out: Uint8Array, part: string): number {
  const { length, start } = snappyLength(packed, part);
  let at = start;
  let to = 0;
  const fail = (what: string): never => {
    throw new FormatError(`${part}+0x${at.toString(16)}`, what);
  };
  if (length > out.length) fail(`a snappy block of ${length} bytes, more than ${out.length}`);
  const little = (bytes: number): number => {
    if (bytes > packed.length - at) fail("snappy block ends inside an element");
    let value = 0;
    for (let i = 0; i < bytes; i++) value += packed[at + i] * 2 ** (8 * i);
    at += bytes;
    return value;
  };
  while (at < packed.length) {
    const tag = packed[at++];
    if ((tag & 3) === 0) {
      const short = tag >> 2;
      const run = (short < 60 ? short : little(short - 59)) + 1;
      if (run > packed.length - at) fail(`${run} literals run past the block`);
      if (run > length - to) fail("more than the block's size");
      out.set(packed.subarray(at, at + run), to);
      at += run;
      to += run;
      continue;
    }
    const run = (tag & 3) === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const distance = (tag & 3) === 1 ? (tag >> 5) * 256 + little(1) : little((tag & 3) === 2 ? 2 : 4);
    if (distance === 0 || distance > to) fail(`copy from ${distance} bytes back, before the block`);
    if (run > length - to) fail("more than the block's size");
    for (let i = 0; i < run; i++, to++) out[to] = out[to - distance];
  }
  if (to !== length) fail(`snappy block unpacks to ${to} bytes, not ${length}`);
  return to;
}
