// The values are those of the reference implementation (xxhsum -H32).
import { expect, it } from "vitest";
import { xxh32 } from "./xxh32.ts";

const vectors: readonly [string, number][] = [
  ["", 0x02cc5d05],
  ["a", 0x550d7456],
  ["abc", 0x32d153ff],
  ["Nobody inspects the spammish repetition", 0xe2293b2f],
];
it.each(vectors)("%j", (text, hash) => {
  expect(xxh32(new TextEncoder().encode(text))).toBe(hash);
});

it("does not depend on where the bytes lie", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 0xff);
  const shifted = new Uint8Array(1003);
  shifted.set(bytes, 3);
  expect(xxh32(shifted.subarray(3))).toBe(xxh32(bytes));
});
