// Pages as makedumpfile -l and -p pack them: whole, cut, changed, and claiming more than a page.
import { describe, expect, it } from "vitest";
import { FormatError } from "../errors.ts";
import { unlzo } from "./lzo.ts";
import { snappyLength, unsnappy } from "./snappy.ts";
import { packedPage, packedPageContent } from "./testing/packed-page.ts";

const content = packedPageContent();

describe.each([
  ["lzo", unlzo],
  ["snappy", unsnappy],
] as const)("%s", (codec, unpack) => {
  const packed = packedPage(codec);

  it("unpacks what the library packed", () => {
    const out = new Uint8Array(4096);
    expect(unpack(packed, out, "page")).toBe(4096);
    expect(Buffer.compare(out, content)).toBe(0);
  });

  it("refuses more than there is room for, and writes nothing behind it", () => {
    const room = new Uint8Array(4096).fill(0xee);
    expect(() => unpack(packed, room.subarray(0, 4000), "page")).toThrow(FormatError);
    expect(room.subarray(4000).every((byte) => byte === 0xee)).toBe(true);
  });

  it("refuses data that are cut anywhere", () => {
    for (let length = 0; length < packed.length; length += 3) {
      expect(() => unpack(packed.subarray(0, length), new Uint8Array(4096), "page")).toThrow(FormatError);
    }
  });

  it("answers or refuses, with each byte changed", () => {
    let refused = 0;
    for (let at = 0; at < packed.length; at++) {
      const changed = packed.slice();
      changed[at] ^= 0x5a;
      try {
        expect(unpack(changed, new Uint8Array(4096), "page")).toBeLessThanOrEqual(4096);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        expect(error.message).toMatch(/^page/);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(20);
  });
});

describe("snappy elements", () => {
  const unpack = (...bytes: number[]) => {
    const out = new Uint8Array(300);
    return Array.from(out.subarray(0, unsnappy(Uint8Array.from(bytes), out, "block")));
  };

  it("copies with one, two and four bytes of distance, over itself too", () => {
    expect(unpack(6, 0x04, 1, 2, 0x01, 2)).toEqual([1, 2, 1, 2, 1, 2]);
    expect(unpack(5, 0x04, 1, 2, 0x0a, 1, 0)).toEqual([1, 2, 2, 2, 2]);
    expect(unpack(4, 0x04, 1, 2, 0x07, 2, 0, 0, 0)).toEqual([1, 2, 1, 2]);
  });

  it("reads long literals by their own length bytes", () => {
    const run = Array.from({ length: 100 }, (_, i) => i);
    expect(unpack(100, 60 << 2, 99, ...run)).toEqual(run);
  });

  it.each([
    ["a distance of 0", [3, 0x00, 1, 0x05, 0], "copy from 0 bytes back"],
    ["a distance before the block", [6, 0x04, 1, 2, 0x01, 9], "copy from 9 bytes back"],
    ["a shorter result than claimed", [9, 0x04, 1, 2], "unpacks to 2 bytes, not 9"],
    ["a longer one", [1, 0x04, 1, 2], "more than the block's size"],
    ["a claim of more than there is room for", [0xff, 0xff, 0x7f, 0], "a snappy block of 2097151 bytes, more than 300"],
    ["a length without end", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "no length"],
  ])("refuses %s", (_name, bytes, message) => {
    expect(() => unpack(...bytes)).toThrow(message);
  });

  it("tells the claimed length without unpacking", () => {
    expect(snappyLength(packedPage("snappy"), "page")).toEqual({ length: 4096, start: 2 });
  });
});
