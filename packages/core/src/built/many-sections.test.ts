// A kernel in which each function is a section (20,000 of them, as function-granular KASLR builds it): what is relocated is
// the same as over one section, and no cost multiplies sections and relocations.
import { expect, it } from "vitest";
import { BufferSource } from "../bytes/source.ts";
import { openKernelImage } from "../image/kernel-image.ts";
import { buildElf, words } from "../image/testing/build-elf.ts";
import type { SymbolTable } from "../symbols/types.ts";
import { BuiltCore } from "./core.ts";
import { entriesIn } from "./entries.ts";

const TEXT = 0xffffffff81000000n;
const SIZE = 32;
const MOVE = 0x1e000000;

/** The same bytes in `count` sections; each piece of 32 bytes has 3 relocated words and one that stays. */
function core(count: number, pieces: number): BuiltCore {
  const each = (SIZE * pieces) / count;
  const data = new Uint8Array(each);
  const view = new DataView(data.buffer);
  for (let at = 0; at < each; at += SIZE) {
    view.setInt32(at, 0x81000000 | 0, true);
    view.setInt32(at + 4, 0x1234, true);
    view.setBigUint64(at + 8, TEXT, true);
    view.setInt32(at + 16, 0x81000000 | 0, true);
  }
  const link = (piece: number, at: number): number => 0x81000000 + piece * SIZE + at;
  const group = (at: number): number[] => Array.from({ length: pieces }, (_, i) => link(pieces - 1 - i, at));
  const elf = buildElf({
    type: 2,
    sections: Array.from({ length: count }, (_, i) => ({
      name: count === 1 ? ".text" : `.text.f${i}`,
      flags: 6,
      address: TEXT + BigInt(i * each),
      data,
    })),
    behind: words([0, ...group(8), 0, ...group(16), 0, ...group(0)]),
  });
  const image = openKernelImage(new BufferSource("vmlinux", elf));
  const symbols = { lookup: () => undefined } as unknown as SymbolTable;
  return new BuiltCore(image, { kaslrOffset: MOVE, symbols, initFreed: true });
}

it("relocates 20,000 sections as it does one", () => {
  const many = core(20_000, 40_000);
  const one = core(1, 40_000);
  expect(many.text).toHaveLength(20_000);
  expect(Buffer.compare(Buffer.concat(many.text.map(({ bytes }) => bytes)), one.text[0].bytes)).toBe(0);
  const first = Buffer.from(many.text[0].bytes).toString("hex").match(/.{8}/g);
  expect(first?.slice(0, 5)).toEqual(["0000009f", "34120000", "0000009f", "ffffffff", "00000063"]);
  expect(many.at(0x1000000 + MOVE + 64 * 777 + 63)?.name).toBe(".text.f777");
  expect(many.section(".text.f19999")?.start).toBe(0x1000000 + MOVE + 64 * 19_999);
});

it("looks at no entry of other sections", () => {
  const table = Int32Array.from([30, 10, 20, 20, 40]);
  expect([...entriesIn(table, 10, 21)]).toEqual([10, 20, 20]);
  expect([...entriesIn(table, 41, 60)]).toEqual([]);
  expect([...entriesIn(table, 20, 18)]).toEqual([]);
  expect([...table]).toEqual([30, 10, 20, 20, 40]);
});

it("keeps sections apart that have one name", () => {
  const elf = buildElf({
    type: 2,
    sections: [
      { name: ".text", flags: 6, address: TEXT, data: Uint8Array.of(1, 1) },
      { name: ".text", flags: 6, address: TEXT + 0x100n, data: Uint8Array.of(2, 2) },
    ],
  });
  const image = openKernelImage(new BufferSource("vmlinux", elf));
  const symbols = { lookup: () => undefined } as unknown as SymbolTable;
  const { text } = new BuiltCore(image, { kaslrOffset: 0, symbols, initFreed: true });
  expect(text.map(({ start, bytes }) => [start, bytes[0]])).toEqual([
    [0x1000000, 1],
    [0x1000100, 2],
  ]);
});

it("refuses sections that claim more than the file holds", () => {
  const bytes = buildElf({
    type: 2,
    sections: Array.from({ length: 100 }, (_, i) => ({
      name: `.text.f${i}`,
      flags: 6,
      address: TEXT,
      ...(i === 0 ? { data: new Uint8Array(0x8000) } : { data: new Uint8Array() }),
    })),
  });
  const view = new DataView(bytes.buffer);
  const table = Number(view.getBigUint64(40, true));
  for (let i = 2; i <= 100; i++) {
    view.setBigUint64(table + 64 * i + 24, view.getBigUint64(table + 64 + 24, true), true);
    view.setBigUint64(table + 64 * i + 32, 0x8000n, true);
  }
  const image = openKernelImage(new BufferSource("vmlinux", bytes));
  const symbols = { lookup: () => undefined } as unknown as SymbolTable;
  const open = () => new BuiltCore(image, { kaslrOffset: 0, symbols, initFreed: true });
  expect(open).toThrow(/section headers: the loaded sections claim 3276800 bytes of a file of \d+/);
});
