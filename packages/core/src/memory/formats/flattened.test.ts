import { expect, it } from "vitest";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import { BufferSource, readInto } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { ascii, testPages } from "../testing/make-elf.ts";
import { type FlatRecord, flatten, makeFlattened, makeKdump } from "../testing/make-kdump.ts";
import { unflatten } from "./flattened.ts";

const source = (bytes: Uint8Array) => new BufferSource("flat", bytes);
const text = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const record = (offset: number | bigint, content: string, size?: bigint): FlatRecord => ({
  offset: BigInt(offset),
  bytes: ascii(content),
  size,
});
function arranged(records: FlatRecord[], end = true) {
  const problems: string[] = [];
  return { inner: unflatten(source(makeFlattened(records, end)), problems), problems };
}

it("puts records in order, whole and over their borders", () => {
  const { inner, problems } = arranged([record(6, "ghi"), record(0, "abc"), record(3, "def"), record(9, "")]);
  expect(inner.size).toBe(9);
  expect(text(inner.read(0, 9))).toBe("abcdefghi");
  expect(text(inner.read(2, 5))).toBe("cdefg");
  expect(text(inner.read(7, 1))).toBe("h");
  const into = new Uint8Array(4);
  readInto(inner, 5, into);
  expect(text(into)).toBe("fghi");
  expect(problems).toEqual([]);
  expect(() => inner.read(8, 2)).toThrow(TruncatedError);
});

it("lets the later of overlapping records win, as rewriting a file would", () => {
  const records = [record(0, "aaaaaaaa"), record(2, "bbb"), record(4, "cc"), record(1, "d"), record(7, "eee")];
  const { inner } = arranged(records);
  expect(text(inner.read(0, 10))).toBe("adbbccaeee");
  expect(text(arranged([record(3, "xyz"), record(0, "01234567")]).inner.read(0, 8))).toBe("01234567");
});

it("gives no bytes that no record holds", () => {
  const { inner } = arranged([record(0, "ab"), record(4, "cd"), record(2 ** 50, "z")]);
  expect(text(inner.read(4, 2))).toBe("cd");
  for (const [offset, length] of [
    [1, 4],
    [2, 1],
    [3, 2],
    [5, 2],
    [100, 1000],
  ]) {
    expect(() => inner.read(offset, length)).toThrow(TruncatedError);
    expect(() => readInto(inner, offset, new Uint8Array(length))).toThrow(TruncatedError);
  }
  expect(() => inner.read(1, 2 ** 45)).toThrow("flat: no flattened record at 0x2: needs 35184372088831 bytes");
});

it("opens a file without its end mark, or cut inside a record", () => {
  expect(arranged([record(0, "abc")], false).problems).toEqual([
    "flat: the flattened file ends at 0x1013 without its end mark",
  ]);
  const { inner, problems } = arranged([record(0, "abc"), record(3, "de", 1000n)], false);
  expect(inner.size).toBe(5);
  expect(problems).toHaveLength(1);
});

it.each<[string, FlatRecord]>([
  ["a negative offset", record(-2n, "abc")],
  ["a negative size", record(0, "abc", -5n)],
  ["an offset past 2^53", record(1n << 60n, "abc")],
  ["a size past 2^53", record(0, "abc", 1n << 62n)],
])("refuses %s", (_name, bad) => {
  expect(() => arranged([record(0, "x"), bad])).toThrow(FormatError);
  expect(() => arranged([record(0, "x"), bad])).toThrow("flat: flattened record at 0x1011: offset");
});

it("refuses no records, other types and what is no dump inside", () => {
  expect(() => arranged([])).toThrow("a flattened file without records");
  expect(() => openDump(source(makeFlattened([record(0, "hello")])))).toThrow("holds no dump, but a text file");
  expect(() => openDump(source(flatten(makeFlattened([record(0, "x")]), 100)))).toThrow("holds no dump");
  const other = makeFlattened([record(0, "abc")]);
  new DataView(other.buffer).setBigInt64(16, 2n);
  expect(() => unflatten(source(other), [])).toThrow(UnsupportedError);
  expect(() => unflatten(source(other.subarray(0, 20)), [])).toThrow(TruncatedError);
});

it("keeps the pages of a truncated flattened kdump", () => {
  const memory = testPages(40);
  const pages = new Map(Array.from({ length: 40 }, (_, i) => [i, memory.subarray(i * 4096, (i + 1) * 4096)]));
  const file = makeKdump({ pages, maxFrame: 40 });
  const records: FlatRecord[] = [];
  for (let at = 0; at < file.length; at += 3000) {
    records.push({ offset: BigInt(at), bytes: file.subarray(at, Math.min(file.length, at + 3000)) });
  }
  const flat = makeFlattened(records);
  const dump = openDump(source(flat.subarray(0, flat.length - 4000)));
  expect(dump.physical.page(0)).toEqual(pages.get(0));
  expect(dump.physical.page(39)).toBeUndefined();
  expect(dump.problems[1]).toMatch(/the file ends at 0x[0-9a-f]+, its last page at 0x[0-9a-f]+: cut off/);
  // Lost in the middle: the record of a descriptor and that of a page's bytes.
  const holed = openDump(source(makeFlattened(records.filter((_, i) => i !== 7 && i !== 11))));
  const got = Array.from(pages.keys(), (frame) => {
    try {
      return holed.physical.page(frame) !== undefined;
    } catch (error) {
      return error instanceof FormatError ? "broken" : error;
    }
  });
  expect(new Set(got)).toEqual(new Set([true, false]));
});

it("ends at once on bitmaps that a far record only pretends to have", () => {
  const file = makeKdump({
    pages: new Map([[0, testPages(1)]]),
    maxFrame: 8,
    spoil: (view) => {
      view.setUint32(436, 0xffffffff, true);
      view.setBigUint64(4096 + 96, 1n << 39n, true);
    },
  });
  const flat = makeFlattened([
    { offset: 0n, bytes: file },
    { offset: 1n << 52n, bytes: ascii("x") },
  ]);
  expect(() => openDump(source(flat))).toThrow("flat: bitmaps at 0x3000: needs 68719476736 bytes, only 0 are there");
});
