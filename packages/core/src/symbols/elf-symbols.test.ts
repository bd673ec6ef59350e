import { describe, expect, it } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { readElfHeader, readSections } from "../bytes/elf.ts";
import { BufferSource } from "../bytes/source.ts";
import { elfSymbolTable, symbolLetter } from "./elf-symbol-table.ts";
import { ElfSymbols, readElfSymbols, SHN_ABS } from "./elf-symbols.ts";
import { buildElf, type FixtureElfSymbol, type FixtureSection } from "./testing/build-elf.ts";

const GLOBAL = 0x10;
const WEAK = 0x20;
const FUNC = 2;
const OBJECT = 1;
const sections: FixtureSection[] = [
  { name: ".text", flags: 6, bytes: new Uint8Array(64) },
  { name: ".data", flags: 3, bytes: new Uint8Array(16) },
  { name: ".rodata", flags: 2, bytes: new Uint8Array(16) },
  { name: ".bss", type: 8, flags: 3, bytes: new Uint8Array(16) },
];
const symbols: FixtureElfSymbol[] = [
  { name: "floppy.c", value: 0n, info: 4, section: SHN_ABS },
  { name: ".text", value: 0n, info: 3, section: ".text" },
  { name: "helper", value: 0x20n, size: 0x10n, info: FUNC, section: ".text" },
  { name: "init_module", value: 0n, size: 0x20n, info: GLOBAL | FUNC, section: ".text" },
  { name: "table", value: 8n, info: OBJECT, section: ".rodata" },
  { name: "state", value: 0n, info: GLOBAL | OBJECT, section: ".data" },
  { name: "buffer", value: 0n, info: OBJECT, section: ".bss" },
  { name: "maybe", value: 0x30n, info: WEAK | FUNC, section: ".text" },
  { name: "__crc_state", value: 0x8badf00dn, info: GLOBAL, section: SHN_ABS },
  { name: "printk", value: 0n, info: GLOBAL, section: 0 },
  { name: "helper", value: 0x28n, info: FUNC, section: ".text" },
];

function open(type: number, withSymbols: readonly FixtureElfSymbol[] | undefined = symbols) {
  const source = new BufferSource("floppy.ko", buildElf(type, sections, withSymbols));
  const list = readSections(source, readElfHeader(source));
  return { list, symbols: readElfSymbols(source, list) };
}

describe("readElfSymbols", () => {
  it("keeps columns, numbered as in the file", () => {
    const elf = open(1).symbols!;
    expect(elf.count).toBe(symbols.length + 1);
    expect(elf.name(0)).toBe("");
    expect(elf.rows("helper")).toEqual([3, 11]);
    expect(elf.defined("printk")).toBeUndefined();
    expect(elf.rows("printk")).toEqual([10]);
    const row = elf.defined("init_module")!;
    expect([
      elf.name(row),
      elf.values[row],
      elf.sizes[row],
      elf.sections[row],
      elf.type(row),
      elf.binding(row),
    ]).toEqual(["init_module", 0, 0x20, 1, 2, 1]);
  });

  it("gives nm's letters", () => {
    const { list, symbols: elf } = open(1);
    const letters = symbols.map((_, i) => symbolLetter(elf!, i + 1, list)).join("");
    expect(letters).toBe("attTrDbWAUt");
  });

  it("is undefined for a stripped file", () => {
    const source = new BufferSource("vmlinux", buildElf(2, sections));
    expect(readElfSymbols(source, readSections(source, readElfHeader(source)))).toBeUndefined();
  });

  it("resolves section numbers beyond 16 bits", () => {
    const bytes = new Uint8Array(48);
    bytes.set([0xff, 0xff], 24 + 6);
    const extended = new Uint8Array(8);
    extended.set([0x01, 0x00, 0x01], 4);
    const elf = new ElfSymbols(bytes, new Uint8Array(1), "x", extended);
    expect([...elf.sections]).toEqual([0, 0x10001]);
  });

  it("names what is wrong", () => {
    expect(() => new ElfSymbols(new Uint8Array(25), new Uint8Array(1), "x.ko: .symtab")).toThrow(
      "x.ko: .symtab: 25 bytes are no whole symbols",
    );
    const bad = new Uint8Array(24);
    bad[0] = 9;
    expect(() => new ElfSymbols(bad, new Uint8Array(4), "x.ko: .symtab").name(0)).toThrow(
      "x.ko: .symtab+0x0: symbol 0 has its name at 9, of 4",
    );
    const source = new BufferSource("x.ko", buildElf(1, sections, symbols));
    const list = readSections(source, readElfHeader(source));
    const wrong = list.map((s) => (s.type === 2 ? { ...s, link: 99 } : s));
    expect(() => readElfSymbols(source, wrong)).toThrow("x.ko: .symtab: string table 99 of 8 sections");
    const size = list.map((s) => (s.type === 2 ? { ...s, entrySize: 16 } : s));
    expect(() => readElfSymbols(source, size)).toThrow("x.ko: .symtab: entry size 16, not 24");
  });
});

describe("elfSymbolTable", () => {
  it("takes values as addresses in a linked file", () => {
    const linked = symbols.map((s) => (s.section === ".text" ? { ...s, value: s.value + 0xffffffff81000000n } : s));
    const { list, symbols: elf } = open(2, linked);
    const table = elfSymbolTable(elf!, list);
    expect(table.lookup("init_module")).toEqual({ name: "init_module", address: 0xffffffff81000000n, type: "T" });
    expect(table.nearest(virtualAddress(0xffffffff81000024n))).toMatchObject({ symbol: { name: "helper" }, offset: 4 });
    expect(table.lookup("printk")).toBeUndefined();
    expect(table.lookup("floppy.c")).toBeUndefined();
    expect([...table.all()].filter((s) => s.name === ".text")).toEqual([]);
  });

  it("puts a module's symbols where its sections lie", () => {
    const { list, symbols: elf } = open(1);
    const text = virtualAddress(0xffffffffc0100000n);
    const table = elfSymbolTable(elf!, list, {
      module: "floppy",
      sectionAddress: (section) => (list[section].name === ".text" ? text : undefined),
    });
    expect(table.lookupAll("helper").map((s) => s.address)).toEqual([0xffffffffc0100020n, 0xffffffffc0100028n]);
    expect(table.lookup("helper")?.module).toBe("floppy");
    expect(table.lookup("state")).toBeUndefined(); // .data lies nowhere
    expect(table.lookup("__crc_state")?.address).toBe(0x8badf00dn);
  });
});
