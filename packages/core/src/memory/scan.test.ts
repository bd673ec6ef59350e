import { expect, it } from "vitest";
import { physicalAddress } from "../bytes/brand.ts";
import { BufferSource } from "../bytes/source.ts";
import { openDump } from "./open.ts";
import { scanPhysical } from "./scan.ts";
import { ascii, makeElf } from "./testing/make-elf.ts";

const NEEDLE = ascii("Linux version ");

function dump(places: number[]) {
  const bytes = new Uint8Array(3 << 20);
  for (const at of places) bytes.set(NEEDLE, at);
  const parts = [
    { type: 1, bytes: bytes.subarray(0, 2 << 20), physical: 0n },
    { type: 1, bytes: bytes.subarray(2 << 20), physical: 0x10000000n },
  ];
  return openDump(new BufferSource("vmcore", makeElf(parts)));
}

it("finds a pattern in all ranges, over block borders, each once", () => {
  const found = scanPhysical(dump([0, (1 << 20) - 5, (1 << 20) + 20, (2 << 20) + 7]), NEEDLE);
  expect(found).toEqual([0n, 0xffffbn, 0x100014n, 0x10000007n]);
});

it("does not find it across a hole in memory", () => {
  expect(scanPhysical(dump([(2 << 20) - 5]), NEEDLE)).toEqual([]);
});

it("keeps to the alignment, the start and the limit", () => {
  const places = dump([0x1000, 0x1804, 0x2008, 0x3000, (2 << 20) + 0x10]);
  expect(scanPhysical(places, NEEDLE, { alignment: 4096 })).toEqual([0x1000n, 0x3000n]);
  expect(scanPhysical(places, NEEDLE, { alignment: 4 })).toHaveLength(5);
  expect(scanPhysical(places, NEEDLE, { from: physicalAddress(0x1001n), limit: 2 })).toEqual([0x1804n, 0x2008n]);
  expect(scanPhysical(places, NEEDLE, { alignment: 8, from: physicalAddress(0x1003n) })).toEqual([
    0x2008n,
    0x3000n,
    0x10000010n,
  ]);
});

it("finds zeros only where memory is", () => {
  expect(scanPhysical(dump([]), new Uint8Array(4096), { alignment: 4096 })).toHaveLength(768);
});

it("refuses an empty pattern", () => {
  expect(() => scanPhysical(dump([]), new Uint8Array())).toThrow("a pattern of 0 bytes");
});
