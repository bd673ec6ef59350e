import { describe, expect, it } from "vitest";
import { physicalAddress } from "../../bytes/brand.ts";
import { packedPage, packedPageContent } from "../../bytes/decompress/testing/packed-page.ts";
import { inflatePage } from "../../bytes/decompress/zlib-page.ts";
import { loadZstd } from "../../bytes/decompress/zstd.ts";
import { FormatError, UnsupportedError } from "../../bytes/errors.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { ascii, concat, makeElf, note, prstatusNote, qemuNote, testPages } from "../testing/make-elf.ts";
import { flatten, type KdumpPlan, makeKdump, rawPage, zlibPage } from "../testing/make-kdump.ts";

const open = (bytes: Uint8Array) => openDump(new BufferSource("vmcore", bytes));
const MEMORY = testPages(8);
const pageOf = (frame: number) => MEMORY.subarray(frame * 4096, (frame + 1) * 4096);
const pages = (...frames: number[]) => new Map(frames.map((frame) => [frame, pageOf(frame)]));
const plan = (rest: Partial<KdumpPlan> = {}) => makeKdump({ pages: pages(0, 1, 2, 5, 6), maxFrame: 8, ...rest });

const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && Buffer.compare(a, b) === 0;

function read(dump: ReturnType<typeof open>, address: number, length: number) {
  const into = new Uint8Array(length).fill(0xee);
  const absent: [number, number][] = [];
  dump.physical.read(physicalAddress(BigInt(address)), into, (offset, count) => absent.push([offset, count]));
  return { into, absent };
}

describe("the same memory in every format", () => {
  const elf = makeElf([
    { type: 1, bytes: MEMORY.subarray(0, 0x3000), physical: 0n },
    { type: 1, bytes: MEMORY.subarray(0x5000, 0x7000), physical: 0x5000n },
  ]);
  const virtual = 0xffff888000000000n;
  const paging = makeElf([
    { type: 1, bytes: MEMORY.subarray(0x5000, 0x7000), physical: 0x5000n, virtual: virtual + 0x5000n },
    { type: 1, bytes: MEMORY.subarray(0, 0x3000), physical: 0n, virtual },
    { type: 1, bytes: MEMORY.subarray(0x1000, 0x2000), physical: 0x1000n, virtual: 0xffffffff81000000n },
  ]);
  const kdump = plan({ filtered: [3] });

  it.each<[string, Uint8Array, string]>([
    ["ELF", elf, "elf"],
    ["ELF with paging", paging, "elf-paging"],
    ["kdump, zlib", kdump, "kdump"],
    ["kdump, not packed", plan({ pack: rawPage }), "kdump"],
    ["kdump, version 1, one bitmap", plan({ version: 1, single: true }), "kdump"],
    ["flattened kdump", flatten(kdump, 1000), "kdump-flattened"],
    ["flattened kdump in large records", flatten(kdump, 1 << 20), "kdump-flattened"],
    ["flattened ELF", flatten(elf, 777), "elf-flattened"],
    ["flattened ELF with paging", flatten(paging, 5000), "elf-paging-flattened"],
  ])("%s", (_name, bytes, format) => {
    const dump = open(bytes);
    expect(dump.format).toBe(format);
    expect(dump.size).toBe(bytes.length);
    expect(dump.problems).toEqual([]);
    for (const frame of [0, 1, 2, 5, 6]) expect(same(dump.physical.page(frame), pageOf(frame))).toBe(true);
    for (const frame of [3, 4, 7, 8, 2 ** 39, -1]) expect(dump.physical.page(frame)).toBeUndefined();
    const { into, absent } = read(dump, 0x800, 0x7000);
    expect(absent).toEqual([
      [0x2800, 0x2000],
      [0x6800, 0x800],
    ]);
    const wanted = MEMORY.slice(0x800, 0x7800);
    for (const [offset, length] of absent) wanted.fill(0, offset, offset + length);
    expect(same(into, wanted)).toBe(true);
  });
});

describe("headers", () => {
  it("tells existing from dumped pages", () => {
    expect(open(plan({ filtered: [3, 7] })).physical.ranges).toEqual([
      { start: 0n, length: 0x4000n },
      { start: 0x5000n, length: 0x3000n },
    ]);
  });

  it("reads notes, VMCOREINFO and the names that the header has", () => {
    const notes = concat([prstatusNote(1, 1n), qemuNote({ cr3: 0x5000n }), note("OTHER", 3, testPages(1))]);
    const dump = open(plan({ notes, vmcoreinfo: "OSRELEASE=6.1.0\n", release: "6.1.0-56-amd64" }));
    expect(dump.cpus.map(({ source, registers }) => [source, registers.cr3])).toEqual([["QEMU", 0x5000n]]);
    expect(dump.vmcoreinfo).toBe("OSRELEASE=6.1.0\n");
    expect(dump.notes).toHaveLength(3);
    expect(dump.header).toEqual({
      release: "6.1.0-56-amd64",
      machine: "x86_64",
      physBase: "0x0000000001000000",
      dumpLevel: "31",
    });
  });

  it("takes VMCOREINFO from the notes when the header does not point to it", () => {
    expect(open(plan({ notes: note("VMCOREINFO", 0, testPages(1).fill(65, 0, 5).fill(0, 5)) })).vmcoreinfo).toBe(
      "AAAAA",
    );
  });

  it("believes max_mapnr_64 where max_mapnr holds its low half only", () => {
    const far = 70_000;
    const file = makeKdump({
      pages: new Map([...pages(0, 1), [far, pageOf(2)]]),
      maxFrame: far + 1,
      spoil: (view) => view.setUint32(440, far + 1 - 65536, true),
    });
    expect(open(file).physical.page(far)).toEqual(pageOf(2));
    expect(open(file).physical.ranges.at(-1)).toEqual({ start: BigInt(far) << 12n, length: 4096n });
  });

  it("opens one part of a split dump", () => {
    const dump = open(plan({ split: [2, 6] }));
    expect(dump.physical.page(1)).toBeUndefined();
    expect(dump.physical.page(2)).toEqual(pageOf(2));
    expect(dump.physical.page(5)).toEqual(pageOf(5));
    expect(dump.physical.page(6)).toBeUndefined();
    expect(dump.problems).toEqual(["vmcore: kdump header: one part of a split dump, page frames 2 to 6 only"]);
  });

  it.each<[string, Partial<KdumpPlan>, string]>([
    ["a page size", { blockSize: 65536 }, "kdump header+0x1ac: a page size of 65536 bytes is not supported"],
    ["a machine", { machine: "aarch64" }, "a dump of an arm64 kernel is not supported"],
  ])("does not support %s", (_name, rest, message) => {
    expect(() => open(plan(rest))).toThrow(UnsupportedError);
    expect(() => open(plan(rest))).toThrow(message);
  });

  it.each<[string, (view: DataView) => void, string]>([
    ["version 0", (view) => view.setInt32(8, 0, true), "kdump header+0x8: header version 0"],
    ["no sub header", (view) => view.setUint32(432, 0, true), "sub header of 0 blocks"],
    ["a huge sub header", (view) => view.setUint32(432, 0xffffffff, true), "sub header of 4294967295 blocks"],
    ["a huge max_mapnr_64", (view) => view.setBigUint64(4096 + 96, 1n << 50n, true), "is above 52 address bits"],
    [
      "bitmaps too small",
      (view) => view.setBigUint64(4096 + 96, 1n << 30n, true),
      "bitmaps of 8192 bytes for 1073741824 pages",
    ],
    ["an impossible offset", (view) => view.setBigUint64(4096 + 48, 1n << 60n, true), "is no plausible size or offset"],
  ])("refuses %s", (_name, spoil, message) => {
    expect(() => open(plan({ spoil }))).toThrow(message);
  });

  it.each([4, 100, 463, 4096, 4200])("refuses a file cut to %i bytes", (length) => {
    expect(() => open(concat([new Uint8Array(plan().subarray(0, length))]))).toThrow(
      /needs \d+ bytes|lies \d+ bytes past|zero bytes|KDUMP|text/,
    );
  });

  it("reserves nothing for bitmaps that the file does not have", () => {
    const spoil = (view: DataView) => {
      view.setUint32(436, 0xffffffff, true);
      view.setBigUint64(4096 + 96, 1n << 38n, true);
    };
    expect(() => open(plan({ spoil }))).toThrow("vmcore: bitmaps at 0x3000: needs 34359738368 bytes, only 0 are there");
  });

  it("says how much of a cut bitmap is left", () => {
    const file = makeKdump({ pages: pages(0), maxFrame: 100_000 });
    const dump = open(file.subarray(0, 0x3000 + 6 * 4096 + 10));
    expect(dump.problems[0]).toBe("vmcore: bitmaps: bits for 65536 of 100000 pages are in the file");
    expect(dump.physical.page(0)).toBeUndefined();
  });

  it("reports notes that lie outside the file", () => {
    const notes = prstatusNote(1, 1n);
    const spoil = (view: DataView) => view.setBigUint64(4096 + 48, 1n << 40n, true);
    const dump = open(plan({ notes, spoil }));
    expect(dump.cpus).toEqual([]);
    expect(dump.problems.join()).toContain("vmcore: 0x10000000000");
  });
});

describe("truncated and damaged pages", () => {
  it("keeps the pages before the cut", () => {
    const whole = plan({ pack: rawPage });
    const dump = open(whole.subarray(0, whole.length - 5000));
    expect(dump.physical.page(2)).toEqual(pageOf(2));
    expect(dump.physical.page(5)).toBeUndefined();
    expect(dump.physical.page(6)).toBeUndefined();
    expect(dump.problems).toEqual(["vmcore: the file ends at 0x8cf0, its last page at 0xa078: cut off"]);
  });

  it("keeps what is left when the descriptors are cut", () => {
    const whole = plan();
    let at = 0;
    plan({ spoil: (_view, { descriptors }) => (at = descriptors) });
    const dump = open(whole.subarray(0, at + 50));
    expect(dump.physical.page(0)).toBeUndefined();
    expect(dump.problems).toEqual(["vmcore: page descriptors: 5 pages claimed, the file ends after 2 descriptors"]);
  });

  it("takes offset 0 as a page that an incomplete dump lost", () => {
    const spoil = (view: DataView, at: { descriptors: number }) => view.setBigUint64(at.descriptors + 4 * 24, 0n, true);
    const dump = open(plan({ status: 1 | 8, spoil }));
    expect(dump.physical.page(6)).toBeUndefined();
    expect(dump.physical.page(5)).toEqual(pageOf(5));
    expect(dump.problems.join()).toContain("marked incomplete");
  });

  const spoiled: [string, Partial<KdumpPlan>, string][] = [
    ["damaged data", { spoil: (view, at) => view.setUint32(at.data + 20, 0x12345678) }, "broken zlib data ("],
    [
      "a wrong checksum",
      { pack: (page) => spoilEnd(zlibPage(page)) },
      "broken zlib data (the Adler-32 checksum differs)",
    ],
    ["no zlib header", { pack: () => ({ bytes: new Uint8Array(30), flags: 1 }) }, "broken zlib data (no zlib header)"],
    ["a short page", { pack: (page) => zlibPage(page.subarray(0, 100)) }, "unpacks to 100 bytes, not 4096"],
    ["a long page", { pack: () => zlibPage(testPages(2)) }, "broken zlib data (the Adler-32 checksum differs)"],
    ["a bomb", { pack: () => zlibPage(new Uint8Array(1 << 17)) }, "broken zlib data (the Adler-32 checksum differs)"],
    ["a short raw page", { pack: (page) => rawPage(page.subarray(0, 999)) }, "unpacks to 999 bytes, not 4096"],
    ["a huge size", { pack: () => rawPage(testPages(3)) }, "a page packed to 12288 bytes"],
    [
      "a broken lzo page",
      { pack: (page) => ({ bytes: page.slice().fill(0xff, 0, 64), flags: 2 }) },
      "bytes back, before the block",
    ],
    [
      "a broken snappy page",
      { pack: () => ({ bytes: ascii("\x80\x20\x09\x01"), flags: 4 }) },
      "copy from 1 bytes back",
    ],
    ["two codecs", { pack: (page) => ({ bytes: page, flags: 3 }) }, "page flags 0x3 name several codecs"],
  ];
  it.each(spoiled)("throws for %s, naming page and place", (_name, rest, message) => {
    const dump = open(plan(rest));
    expect(() => dump.physical.page(0)).toThrow(message);
    expect(() => dump.physical.page(0)).toThrow("vmcore: page frame 0x0 at 0x");
    expect(() => read(dump, 0, 4096)).toThrow(message);
  });

  it("is not confused by a broken page in its cache", () => {
    let fail = true;
    const flaky = (packed: Uint8Array, out: Uint8Array) => {
      if (fail) throw new FormatError("x", "y");
      return inflatePage(packed, out);
    };
    const dump = openDump(new BufferSource("vmcore", plan()), { inflate: flaky });
    expect(() => dump.physical.page(1)).toThrow("broken zlib data (x: y)");
    fail = false;
    expect(dump.physical.page(1)).toEqual(pageOf(1));
    fail = true;
    expect(dump.physical.page(1)).toEqual(pageOf(1));
  });

  it("unpacks the zero page that a dump shares only once", () => {
    let unpacked = 0;
    const zero = zlibPage(new Uint8Array(4096));
    const counting = (packed: Uint8Array, out: Uint8Array) => {
      unpacked++;
      return inflatePage(packed, out);
    };
    let first = 0;
    const spoil = (view: DataView, { descriptors, data }: { descriptors: number; data: number }) => {
      for (let i = 1; i < 5; i++) view.setBigUint64(descriptors + i * 24, BigInt(data), true);
      first = data;
    };
    const dump = openDump(new BufferSource("vmcore", plan({ pack: () => zero, spoil })), { inflate: counting });
    expect(first).toBeGreaterThan(0);
    expect(read(dump, 0, 0x3000).into.every((byte) => byte === 0)).toBe(true);
    dump.physical.page(6);
    expect(unpacked).toBe(1);
  });
});

it.each([
  ["lzo", 2],
  ["snappy", 4],
] as const)("reads %s pages", (codec, flags) => {
  const dump = open(plan({ status: flags, pack: () => ({ bytes: packedPage(codec), flags }) }));
  expect(dump.physical.page(5)).toEqual(packedPageContent());
  expect(read(dump, 0x1000, 0x1000).into).toEqual(packedPageContent());
});

it("reads zstd pages once the decoder is loaded", async () => {
  // A frame by hand: magic, single segment with a 2-byte size (4096 - 256), one raw block (last), the page.
  const frame = (page: Uint8Array) => {
    const head = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x0f, 0x01, 0x80, 0x00);
    return { bytes: concat([head, page]), flags: 0x20 };
  };
  await loadZstd();
  const dump = open(plan({ status: 0x20, pack: frame }));
  expect(dump.physical.page(5)).toEqual(pageOf(5));
  expect(read(dump, 0x1000, 0x1000).into).toEqual(pageOf(1));
});

function spoilEnd({ bytes, flags }: { bytes: Uint8Array; flags: number }) {
  const copy = bytes.slice();
  copy[copy.length - 1] ^= 1;
  return { bytes: copy, flags };
}
