import { zlibSync } from "fflate";
import { expect, it } from "vitest";
import { adler32, inflatePage } from "./zlib-page.ts";

const PAGE = Uint8Array.from({ length: 4096 }, (_, i) => (i * i) >>> 5);

it("unpacks a page in place", () => {
  const out = new Uint8Array(4096);
  expect(inflatePage(zlibSync(PAGE), out)).toBe(4096);
  expect(out).toEqual(PAGE);
});

it("knows Adler-32 (RFC 1950)", () => {
  expect(adler32(new Uint8Array())).toBe(1);
  expect(adler32(new TextEncoder().encode("Wikipedia"))).toBe(0x11e60398);
  expect(adler32(new Uint8Array(100_000).fill(255))).toBe(0x149a302c);
});

it.each<[string, (packed: Uint8Array) => Uint8Array]>([
  ["nothing", () => new Uint8Array()],
  ["a cut stream", (packed) => packed.subarray(0, packed.length >> 1)],
  ["another method", (packed) => packed.with(0, 0x77)],
  ["a preset dictionary", (packed) => packed.with(1, 0x20)],
  ["a flipped bit", (packed) => packed.with(40, packed[40] ^ 8)],
  ["a wrong checksum", (packed) => packed.with(packed.length - 2, packed[packed.length - 2] ^ 1)],
  ["a stream that is too long", () => zlibSync(new Uint8Array(1 << 20))],
])("refuses %s", (_name, spoil) => {
  expect(() => inflatePage(spoil(zlibSync(PAGE)), new Uint8Array(4096))).toThrow();
});
