import { zlibSync } from "fflate";
import { describe, expect, it } from "vitest";
import { BufferSource } from "../../bytes/source.ts";
import {
  buildDwarf,
  type DwarfFixtureOptions,
  dwarfElf,
  type FixtureAttribute,
  type FixtureDie,
} from "../testing/build-dwarf.ts";
import { buildElf } from "../testing/build-elf.ts";
import { openDwarf } from "./dwarf-types.ts";
import { DW_AT as AT, DW_FORM as F, DW_TAG as T } from "./forms.ts";

const name = (text: string, form: number = F.strp): FixtureAttribute => [AT.name, form, text];
const size = (bytes: number): FixtureAttribute => [AT.byteSize, F.data1, bytes];
const type = (label: string): FixtureAttribute => [AT.type, F.ref4, label];
/** A member, its place as the version says it: an expression until 3, a constant from 4 on. */
const member = (version: number, text: string, label: string, at: number, ...more: FixtureAttribute[]): FixtureDie => ({
  tag: T.member,
  attributes: [
    ...(text === "" ? [] : [name(text)]),
    type(label),
    version < 4
      ? ([AT.dataMemberLocation, F.block1, at < 128 ? [0x23, at] : [0x23, (at & 127) | 128, at >> 7]] as const)
      : ([AT.dataMemberLocation, F.udata, at] as const),
    ...more,
  ],
});

function typesOf(version: 2 | 3 | 4 | 5): FixtureDie[] {
  const bits = (at: number, count: number): FixtureAttribute[] =>
    version < 4
      ? [
          [AT.byteSize, F.data1, 4],
          [AT.bitSize, F.data1, count],
          [AT.bitOffset, F.data1, 32 - at - count],
        ]
      : [
          [AT.bitSize, F.data1, count],
          [AT.dataBitOffset, F.data2, 64 * 8 + at],
        ];
  const field = (text: string, at: number, count: number): FixtureDie =>
    version < 4
      ? member(version, text, "u32", 64, ...bits(at, count))
      : { tag: T.member, attributes: [name(text), type("u32"), ...bits(at, count)] };
  return [
    { tag: T.baseType, label: "uint", attributes: [size(4), name("unsigned int")] },
    { tag: T.typedef, label: "u32", attributes: [name("u32", F.string), type("uint")] },
    { tag: T.baseType, label: "char", attributes: [size(1), name("char")] },
    { tag: T.structureType, attributes: [name("module"), [AT.declaration, F.flag, 1]] },
    {
      tag: T.arrayType,
      label: "char56",
      attributes: [type("char"), [AT.sibling, F.ref4]],
      children: [{ tag: T.subrangeType, attributes: [[AT.upperBound, F.data1, 55]] }],
    },
    {
      tag: T.arrayType,
      label: "matrix",
      attributes: [type("u32")],
      children: [
        { tag: T.subrangeType, attributes: [[AT.upperBound, F.data1, 2]] },
        { tag: T.subrangeType, attributes: [[AT.count, F.data1, 4]] },
      ],
    },
    {
      tag: T.arrayType,
      label: "open",
      attributes: [type("char")],
      children: [{ tag: T.subrangeType, attributes: [[AT.upperBound, F.sdata, -1]] }],
    },
    {
      tag: T.unionType,
      label: "anon",
      attributes: [size(8), [AT.sibling, F.ref4]],
      children: [
        { tag: T.member, attributes: [name("whole"), type("pointer")] },
        { tag: T.member, attributes: [name("low"), type("u32")] },
      ],
    },
    { tag: T.pointerType, label: "pointer", attributes: [type("later")] },
    { tag: T.constType, label: "const", attributes: [type("matrix")] },
    {
      tag: T.structureType,
      label: "module",
      attributes: [name("module"), [AT.byteSize, F.data2, 200], [AT.sibling, F.ref4]],
      children: [
        member(version, "state", "state", 0),
        member(version, "name", "char56", 4),
        field("a", 0, 3),
        field("b", 3, 7),
        member(version, "", "anon", 72),
        member(version, "grid", "const", 80),
        member(version, "tail", "open", 200),
        { tag: T.structureType, attributes: [name("nested")], children: [] },
      ],
    },
    {
      tag: T.enumerationType,
      label: "state",
      attributes: [name("module_state"), size(4)],
      children: [
        { tag: T.enumerator, attributes: [name("LIVE"), [AT.constValue, F.data1, 0]] },
        { tag: T.enumerator, attributes: [name("GONE"), [AT.constValue, F.sdata, -1]] },
        { tag: T.enumerator, attributes: [name("HUGE"), [AT.constValue, F.data8, 0x8000000000000001n]] },
      ],
    },
    {
      tag: T.enumerationType,
      attributes: [size(4)],
      children: [{ tag: T.enumerator, attributes: [name("FLAG"), [AT.constValue, F.udata, 0x80000000]] }],
    },
    { tag: T.structureType, label: "later", attributes: [name("later"), [AT.declaration, F.flag, 1]] },
  ];
}

const second: FixtureDie[] = [
  { tag: T.structureType, label: "full", attributes: [name("later"), size(16)], children: [] },
  { tag: T.typedef, attributes: [name("later_t"), [AT.type, F.refAddr, "first"]] },
];

function open(options: DwarfFixtureOptions, relocatable = false) {
  const first: FixtureDie[] = options.units[0].map((die) => (die.label === "later" ? { ...die, label: "first" } : die));
  const fix = (dies: FixtureDie[]) =>
    dies.map((die) => ({
      ...die,
      attributes: die.attributes?.map(
        (a): FixtureAttribute => (a[2] === "later" && a[0] === AT.type ? [a[0], a[1], "first"] : a),
      ),
    }));
  const dwarf = buildDwarf({ ...options, units: [fix(first), ...options.units.slice(1)] });
  const opened = openDwarf(new BufferSource("floppy.ko", dwarfElf(dwarf, relocatable)));
  if (opened === undefined) throw new Error("no DWARF");
  return opened;
}

describe.each([
  [2, 4, false],
  [3, 4, false],
  [3, 8, false],
  [4, 4, true],
  [4, 8, false],
  [5, 4, false],
  [5, 4, true],
  [5, 8, false],
] as const)("DWARF %i with %i-byte offsets, relocatable: %s", (version, offsetSize, relocatable) => {
  const types = open({ version, offsetSize, units: [typesOf(version), second] }, relocatable);

  it("gives sizes", () => {
    expect(types.origin).toBe("DWARF of floppy.ko");
    expect(types.sizeOf("struct module")).toBe(200);
    expect(types.sizeOf("u32")).toBe(4);
    expect(types.sizeOf("unsigned")).toBe(4);
    expect(types.sizeOf("later_t")).toBe(16); // declared in one unit, defined in the other
    expect(types.sizeOf("struct nested")).toBeUndefined();
    expect(types.sizeOf("struct nothing")).toBeUndefined();
  });

  it("finds members", () => {
    const get = (path: string) => types.member("struct module", path);
    expect(get("name")).toEqual({ offset: 4, size: 56, count: 56, typeName: "char[56]" });
    expect(get("a")).toEqual({ offset: 64, size: 4, bitOffset: 0, bitSize: 3, typeName: "u32" });
    expect(get("b")).toEqual({ offset: 64, size: 4, bitOffset: 3, bitSize: 7, typeName: "u32" });
    expect(get("whole")).toEqual({ offset: 72, size: 8, typeName: "struct later *" });
    expect(get("grid")).toEqual({ offset: 80, size: 48, count: 3, typeName: "u32[3][4]" });
    expect(get("grid[2][3]")).toEqual({ offset: 80 + 44, size: 4, typeName: "u32" });
    expect(get("tail")).toEqual({ offset: 200, size: 0, count: 0, typeName: "char[0]" });
    expect(types.members("struct module")?.map((m) => m.name)).toEqual([
      "state",
      "name",
      "a",
      "b",
      "whole",
      "low",
      "grid",
      "tail",
    ]);
  });

  it("gives enumerators", () => {
    expect(types.enumerator("module_state", "GONE")).toBe(-1n);
    expect(types.enumerator("module_state", "HUGE")).toBe(0x8000000000000001n);
    expect(types.enumerator("", "FLAG")).toBe(0x80000000n);
    expect(types.enumerator("", "NOTHING")).toBeUndefined();
  });
});

describe("what else compilers write", () => {
  const one = (units: FixtureDie[][], version: 4 | 5 = 5, language?: number) =>
    openDwarf(new BufferSource("vmlinux", dwarfElf(buildDwarf({ version, units, language }))))!;

  it("indexed strings, implicit constants and present flags of clang's DWARF 5", () => {
    const types = one([
      [
        { tag: T.baseType, label: "int", attributes: [name("int", F.strx1), [AT.byteSize, F.implicitConst, 4]] },
        { tag: T.structureType, attributes: [name("s", F.strx1), [AT.declaration, F.flagPresent]] },
        {
          tag: T.structureType,
          attributes: [name("s", F.strx1), [AT.byteSize, F.implicitConst, 4]],
          children: [
            {
              tag: T.member,
              attributes: [name("x", F.strx1), type("int"), [AT.dataMemberLocation, F.implicitConst, 0]],
            },
          ],
        },
      ],
    ]);
    expect(types.member("struct s", "x")).toEqual({ offset: 0, size: 4, typeName: "int" });
  });

  it("bit fields without a size of their own take that of their type", () => {
    const types = one(
      [
        [
          { tag: T.baseType, label: "int", attributes: [name("int"), size(4)] },
          { tag: T.typedef, label: "t", attributes: [name("t"), type("int")] },
          {
            tag: T.structureType,
            attributes: [name("s"), size(8)],
            children: [member(3, "f", "t", 4, [AT.bitSize, F.data1, 5], [AT.bitOffset, F.data1, 17])],
          },
        ],
      ],
      4,
    );
    expect(types.member("struct s", "f")).toMatchObject({ offset: 4, bitOffset: 10, bitSize: 5 });
  });

  it("leaves Rust's structures out", () => {
    const units = [[{ tag: T.structureType, attributes: [name("s"), size(8)], children: [] }]];
    expect(one(units).sizeOf("struct s")).toBe(8);
    expect(one(units, 5, 0x1c).sizeOf("struct s")).toBeUndefined();
  });

  it("sections packed with zlib", () => {
    const dwarf = buildDwarf({ version: 5, units: [typesOf(5)] });
    const packed = zlibSync(dwarf.info);
    const file = (claimed: number, bytes = packed) => {
      const section = new Uint8Array(24 + bytes.length);
      const view = new DataView(section.buffer);
      view.setUint32(0, 1, true);
      view.setBigUint64(8, BigInt(claimed), true);
      section.set(bytes, 24);
      const elf = buildElf(2, [
        { name: ".debug_info", flags: 0x800, bytes: section },
        { name: ".debug_abbrev", bytes: dwarf.abbrev },
        { name: ".debug_str", bytes: dwarf.str },
      ]);
      return () => openDwarf(new BufferSource("vmlinux", elf))?.sizeOf("struct module");
    };
    expect(file(dwarf.info.length)()).toBe(200);
    expect(file(2 ** 40)).toThrow(/^vmlinux: \.debug_info: \d+ bytes cannot unpack to 1099511627776/);
    expect(file(10)).toThrow("vmlinux: .debug_info: unpacks to more than the 10 bytes it claims");
    expect(file(dwarf.info.length + 9)).toThrow(/^vmlinux: \.debug_info: needs \d+ bytes, only/);
    expect(file(dwarf.info.length, packed.slice(0, 20))).toThrow(/vmlinux: \.debug_info: broken zlib data|needs/);
  });

  it("no DWARF at all", () => {
    expect(openDwarf(new BufferSource("vmlinux", buildElf(2, [])))).toBeUndefined();
  });
});

describe("a malformed file", () => {
  const broken = (change: (dwarf: ReturnType<typeof buildDwarf>) => void) => {
    const dwarf = buildDwarf({ version: 4, units: [typesOf(4)] });
    change(dwarf);
    const types = openDwarf(new BufferSource("x", dwarfElf(dwarf)));
    return () => types?.sizeOf("struct nothing");
  };
  it("is told with the place", () => {
    expect(broken((d) => d.info.fill(0xee, 0, 3))).toThrow(/^x: \.debug_info\+0x0: needs \d+ bytes, only/);
    expect(broken((d) => d.info.fill(9, 4, 5))).toThrow("x: .debug_info+0x0: DWARF version 9 is not supported");
    expect(broken((d) => d.info.fill(0x7f, 6, 7))).toThrow("x: .debug_info+0xb: abbreviation 1 is not in its table");
    expect(broken((d) => d.info.fill(0x7f, 6, 10))).toThrow(/^x: \.debug_abbrev\+0x7f7f7f7f: abbreviations beyond/);
    expect(broken((d) => d.info.fill(0x70, 11, 12))).toThrow(
      "x: .debug_info+0xb: abbreviation 112 is not in its table",
    );
    expect(broken((d) => d.str.fill(65))).toThrow(/^x: \.debug_str\+0x[0-9a-f]+: no string, of/);
    expect(broken((d) => d.abbrev.fill(0x30, 4, 5))).toThrow(/x: \.debug_(info|abbrev)\+0x[0-9a-f]+: /);
  });

  it("cannot hold the walk by a sibling that leads back", () => {
    const dwarf = buildDwarf({ version: 4, units: [typesOf(4)] });
    const place = dwarf.labels.get("char56")!;
    dwarf.info.fill(0, place + 1 + 4, place + 1 + 8);
    const types = openDwarf(new BufferSource("x", dwarfElf(dwarf)));
    expect(() => types?.sizeOf("struct nothing")).toThrow(/^x: \.debug_info\+0x[0-9a-f]+: DW_AT_sibling/);
  });

  it("cannot recurse for ever through types that name each other", () => {
    const loop: FixtureDie[] = [
      { tag: T.typedef, label: "a", attributes: [name("a"), type("b")] },
      { tag: T.constType, label: "b", attributes: [type("a")] },
      {
        tag: T.structureType,
        label: "s",
        attributes: [name("s"), size(8)],
        children: [
          { tag: T.member, attributes: [type("s"), [AT.dataMemberLocation, F.data1, 0]] },
          { tag: T.member, attributes: [name("f"), type("a"), [AT.bitSize, F.data1, 1], [AT.bitOffset, F.data1, 1]] },
        ],
      },
      { tag: T.arrayType, label: "r", attributes: [type("r")], children: [] },
      { tag: T.typedef, attributes: [name("endless"), type("r")] },
      { tag: T.typedef, attributes: [name("nowhere"), [AT.type, F.refAddr, "no such label"]] },
    ];
    const types = openDwarf(new BufferSource("x", dwarfElf(buildDwarf({ version: 4, units: [loop] }))))!;
    expect(types.sizeOf("a")).toBeUndefined();
    expect(types.sizeOf("endless")).toBeUndefined();
    expect(types.member("struct s", "absent")).toBeUndefined();
    expect(types.members("struct s")?.length).toBeGreaterThan(0);
    expect(() => types.sizeOf("nowhere")).toThrow("x: .debug_info+0xffffffff: a reference into no unit");
  });

  it("cannot write outside its sections by relocations", () => {
    const dwarf = buildDwarf({ version: 4, units: [typesOf(4)] });
    const wrong = { ...dwarf, stringPlaces: [dwarf.info.length - 2] };
    expect(() => dwarfElf(wrong, true)).toThrow(RangeError); // the builder cannot even say it; by hand:
    const elf = dwarfElf(dwarf, true);
    const source = new BufferSource("x.ko", elf);
    const view = new DataView(elf.buffer);
    for (let at = 0; at + 24 <= elf.length; at += 8) {
      if (view.getUint32(at + 8, true) === 10 && view.getUint32(at + 12, true) === 1) {
        view.setUint32(at, 0x7fffffff, true);
        break;
      }
    }
    expect(() => openDwarf(source)).toThrow(/^x\.ko: \.rela\.debug_info\+0x0: symbol 1 of 2 at 0x7fffffff of/);
  });
});
