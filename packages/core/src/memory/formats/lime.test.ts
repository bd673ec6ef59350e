// LiME and AVML files: the same memory comes out as went in; what is cut, broken or claimed is told.
import { describe, expect, it } from "vitest";
import { physicalAddress } from "../../bytes/brand.ts";
import { crc32c } from "../../bytes/crc32c.ts";
import { packedPage, packedPageContent } from "../../bytes/decompress/testing/packed-page.ts";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { ascii, testPages } from "../testing/make-elf.ts";
import { type Chunk, makeAvml, makeLime, plainChunk } from "../testing/make-lime.ts";

const open = (bytes: Uint8Array) => openDump(new BufferSource("memory", bytes));
const MEMORY = testPages(8);
const RANGES = [
  { start: 0x1000, bytes: MEMORY.subarray(0, 0x3000) },
  { start: 0x100000, bytes: MEMORY.subarray(0x3000, 0x8000) },
];

function read(dump: ReturnType<typeof open>, address: number, length: number) {
  const into = new Uint8Array(length).fill(0xee);
  const absent: [number, number][] = [];
  dump.physical.read(physicalAddress(BigInt(address)), into, (offset, count) => absent.push([offset, count]));
  return { into, absent };
}

/** Chunks of `size` bytes, which need not be pages. */
const split = (size: number) => (bytes: Uint8Array) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    plainChunk(bytes.subarray(i * size, (i + 1) * size)),
  );

describe.each<[string, string, Uint8Array]>([
  ["LiME", "lime", makeLime(RANGES)],
  ["AVML", "avml", makeAvml(RANGES, split(65536))],
  ["AVML in odd chunks", "avml", makeAvml(RANGES, split(1000))],
])("%s", (_name, format, file) => {
  it("holds the ranges, and nothing between them", () => {
    const dump = open(file);
    expect(dump.format).toBe(format);
    expect(dump.problems).toEqual([]);
    expect(dump.physical.ranges).toEqual([
      { start: 0x1000n, length: 0x3000n },
      { start: 0x100000n, length: 0x5000n },
    ]);
    expect(dump.physical.page(0)).toBeUndefined();
    expect(dump.physical.page(4)).toBeUndefined();
    for (const [pfn, at] of [
      [1, 0],
      [3, 2],
      [0x100, 3],
      [0x104, 7],
    ]) {
      expect(Buffer.compare(dump.physical.page(pfn)!, MEMORY.subarray(at * 4096, (at + 1) * 4096))).toBe(0);
    }
  });

  it("reads over page and chunk borders, and tells the gaps", () => {
    const { into, absent } = read(open(file), 0xf00, 0x3200);
    expect(absent).toEqual([
      [0, 0x100],
      [0x3100, 0x100],
    ]);
    expect(Buffer.compare(into.subarray(0x100, 0x3100), MEMORY.subarray(0, 0x3000))).toBe(0);
  });

  it("keeps what is there of a file that is cut, and says where it ends", () => {
    for (let length = 40; length < file.length - 8; length += 997) {
      let dump: ReturnType<typeof open>;
      try {
        dump = open(file.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        expect((error as Error).message).toBe("memory: a LiME or AVML file without any memory");
        continue;
      }
      expect(dump.problems.join()).toMatch(/memory: .*cut off/);
      expect(dump.incomplete).toBe(true);
      const there = dump.physical.page(1);
      if (there) expect(Buffer.compare(there, MEMORY.subarray(0, 4096))).toBe(0);
    }
  });
});

describe("bad headers", () => {
  const changed = (at: number, value: number) => {
    const file = makeLime(RANGES).slice();
    new DataView(file.buffer).setUint32(at, value, true);
    return file;
  };

  it("names a version that it does not know", () => {
    expect(() => open(changed(4, 3))).toThrow(UnsupportedError);
    expect(() => open(changed(4, 3))).toThrow("memory: range header at 0x0+0x4: version 3 of a LiME dump");
  });

  it.each([
    ["no header behind a range", changed(32 + 0x3000, 7), "memory: range header at 0x3020+0x0: magic 0x7"],
    ["an end before its start", changed(16, 0), "a range from 0x1000 to 0x0"],
    ["an address that no machine has", changed(20, 0x7fffffff), "is above 2^53"],
    ["52 bits", changed(20, 0x00100000), "a range from 0x1000 to 0x10000000003fff"],
  ])("%s", (_name, file, message) => {
    expect(() => open(file)).toThrow(FormatError);
    try {
      open(file);
    } catch (error) {
      expect((error as Error).message).toContain(message.startsWith("is above") ? "memory: range header" : message);
    }
  });

  it("says that a header is cut", () => {
    expect(() => open(makeLime(RANGES).subarray(0, 20))).toThrow(TruncatedError);
  });

  it("takes no memory for what a range only claims", () => {
    const file = makeLime([{ start: 0, bytes: MEMORY }]);
    new DataView(file.buffer).setBigUint64(16, 0xffff_ffff_ffffn, true);
    const dump = open(file);
    expect(dump.physical.ranges).toEqual([{ start: 0n, length: 0x8000n }]);
    expect(dump.problems[0]).toContain("the file ends after 32768: cut off");
  });
});

describe("chunks", () => {
  const page = packedPageContent();
  const packed: Chunk = { type: 0, data: packedPage("snappy"), content: page };
  const file = (chunks: readonly Chunk[]) => makeAvml([{ start: 0x5000, bytes: page }], () => chunks);

  it("unpacks compressed ones", () => {
    expect(Buffer.compare(open(file([packed])).physical.page(5)!, page)).toBe(0);
  });

  it("skips padding, and refuses what must not be skipped", () => {
    expect(open(file([{ ...packed, type: 0xfe }, packed])).physical.ranges).toHaveLength(1);
    expect(() => open(file([{ ...packed, type: 0x02 }, packed]))).toThrow("snappy chunk type 0x2");
  });

  it("does not take a damaged page for code", () => {
    const damaged = file([plainChunk(page)]);
    damaged[32 + 10 + 8 + 100] ^= 1;
    const dump = open(damaged);
    expect(() => dump.physical.page(5)).toThrow("memory: chunk at 0x2a: the CRC-32C checksum differs");
  });

  it("refuses more than the range has", () => {
    expect(() => open(file([plainChunk(testPages(2))]))).toThrow("a chunk of 8192 bytes, more than is left");
  });

  it("knows the checksum of RFC 3720", () => {
    expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });
});
