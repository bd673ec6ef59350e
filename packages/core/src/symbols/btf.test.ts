import { describe, expect, it } from "vitest";
import { BtfTypes } from "./btf.ts";
import { buildBtf, type FixtureType } from "./testing/build-btf.ts";

const INT = 1;
const PTR = 2;
const ARRAY = 3;
const STRUCT = 4;
const UNION = 5;
const ENUM = 6;
const FWD = 7;
const TYPEDEF = 8;
const CONST = 10;
const FUNC_PROTO = 13;
const VAR = 14;
const DATASEC = 15;
const ENUM64 = 19;

/** A little of a module: anonymous parts, arrays of structures, bit fields, both kinds of enum. */
const types: FixtureType[] = [
  { kind: INT, name: "unsigned int", value: 4, rest: [32] }, // 1
  { kind: INT, name: "char", value: 1, rest: [8] }, // 2
  { kind: PTR, value: 0 }, // 3 void *
  { kind: ARRAY, rest: [2, 1, 56] }, // 4 char[56]
  { kind: STRUCT, name: "module_memory", value: 16, vlen: 2, rest: ["base", 3, 0, "size", 1, 64] }, // 5
  { kind: ARRAY, rest: [5, 1, 7] }, // 6
  { kind: STRUCT, value: 4, flag: true, vlen: 3, rest: ["a", 1, 3 << 24, "b", 1, (7 << 24) | 3, "", 1, 10] }, // 7
  { kind: UNION, value: 8, vlen: 2, rest: ["", 7, 0, "whole", 3, 0] }, // 8
  { kind: CONST, value: 6 }, // 9
  {
    kind: STRUCT,
    name: "module",
    value: 192,
    vlen: 5,
    rest: ["state", 11, 0, "name", 4, 32, "", 8, 64 * 8, "mem", 9, 72 * 8, "next", 13, 184 * 8],
  }, // 10
  { kind: ENUM, name: "module_state", value: 4, vlen: 2, rest: ["LIVE", 0, "GONE", -1] }, // 11
  { kind: FWD, name: "module" }, // 12
  { kind: PTR, value: 12 }, // 13
  { kind: TYPEDEF, name: "module_t", value: 12 }, // 14
  { kind: ENUM, value: 4, vlen: 1, rest: ["FLAG_HIGH", 0x80000000] }, // 15
  { kind: ENUM64, name: "wide", value: 8, vlen: 2, rest: ["BIG", 5, 1, "ALL", -1, -1] }, // 16
  { kind: INT, name: "long unsigned int", value: 8, rest: [64] }, // 17
  { kind: FUNC_PROTO, value: 1, vlen: 1, rest: ["x", 3] }, // 18
  { kind: PTR, value: 18 }, // 19
  { kind: STRUCT, name: "ops", value: 12, vlen: 2, rest: ["func", 19, 0, "flags", 20, 64] }, // 20 has itself below
  { kind: TYPEDEF, name: "loop", value: 21 }, // 21
];

describe("BtfTypes", () => {
  const btf = new BtfTypes(buildBtf(types), { origin: "BTF of a test" });

  it("gives sizes by tagged and by plain name", () => {
    expect(btf.count).toBe(types.length);
    expect(btf.origin).toBe("BTF of a test");
    expect(btf.sizeOf("struct module")).toBe(192);
    expect(btf.sizeOf("module_t")).toBe(192); // through a forward declaration
    expect(btf.sizeOf("enum module_state")).toBe(4);
    expect(btf.sizeOf("unsigned long")).toBe(8);
    expect(btf.sizeOf("struct module *")).toBe(8);
    expect(btf.sizeOf("module")).toBeUndefined();
    expect(btf.sizeOf("struct nothing")).toBeUndefined();
    expect(btf.sizeOf("union module")).toBeUndefined();
  });

  it.each([
    ["state", { offset: 0, size: 4, typeName: "enum module_state" }],
    ["name", { offset: 4, size: 56, count: 56, typeName: "char[56]" }],
    ["name[3]", { offset: 7, size: 1, typeName: "char" }],
    ["whole", { offset: 64, size: 8, typeName: "void *" }],
    ["b", { offset: 64, size: 4, bitOffset: 3, bitSize: 7, typeName: "unsigned int" }],
    ["mem", { offset: 72, size: 112, count: 7, typeName: "struct module_memory[7]" }],
    ["mem[6].size", { offset: 72 + 6 * 16 + 8, size: 4, typeName: "unsigned int" }],
    ["next", { offset: 184, size: 8, typeName: "struct module *" }],
  ])("finds member %s", (path, member) => {
    expect(btf.member("struct module", path)).toEqual(member);
  });

  it.each(["mem[7].size", "next.state", "state.x", "b.c", "", "a..b", "mem[x]", "mem[-1]", "nothing"])(
    "has no member '%s'",
    (path) => {
      expect(btf.member("struct module", path)).toBeUndefined();
    },
  );

  it("flattens anonymous members and leaves unnamed padding bits out", () => {
    expect(btf.members("struct module")?.map((m) => `${m.name}@${m.offset}`)).toEqual([
      "state@0",
      "name@4",
      "a@64",
      "b@64",
      "whole@64",
      "mem@72",
      "next@184",
    ]);
    expect(btf.members("enum module_state")).toBeUndefined();
    expect(btf.member("struct ops", "func")?.typeName).toBe("unsigned int (*)(…)");
  });

  it("gives enumerators, of anonymous enums too", () => {
    expect([...(btf.enumerators("module_state") ?? [])]).toEqual([
      ["LIVE", 0n],
      ["GONE", -1n],
    ]);
    expect(btf.enumerator("enum wide", "BIG")).toBe(0x100000005n);
    expect(btf.enumerator("wide", "ALL")).toBe(0xffffffffffffffffn);
    expect(btf.enumerator("", "FLAG_HIGH")).toBe(0x80000000n);
    expect(btf.enumerator("", "NOTHING")).toBeUndefined();
  });

  it("believes kind_flag about signs as soon as one enum has it", () => {
    const marked = new BtfTypes(
      buildBtf([
        { kind: ENUM, name: "u", value: 4, vlen: 1, rest: ["U", -1] },
        { kind: ENUM, name: "s", value: 4, vlen: 1, flag: true, rest: ["S", -1] },
      ]),
    );
    expect(marked.enumerator("u", "U")).toBe(0xffffffffn);
    expect(marked.enumerator("s", "S")).toBe(-1n);
  });

  it("cuts cycles", () => {
    expect(btf.sizeOf("loop")).toBeUndefined();
    expect(btf.member("struct ops", "flags.x")).toBeUndefined();
    const self = new BtfTypes(buildBtf([{ kind: STRUCT, name: "s", value: 4, vlen: 1, rest: ["", 1, 0] }]));
    expect(self.members("struct s")).toEqual([]);
    expect(self.member("struct s", "x")).toBeUndefined();
    const array = new BtfTypes(
      buildBtf([
        { kind: ARRAY, rest: [1, 1, 4] },
        { kind: TYPEDEF, name: "t", value: 1 },
      ]),
    );
    expect(array.sizeOf("t")).toBeUndefined();
  });

  it("reads bit fields as encoders before 4.20 wrote them", () => {
    const old = new BtfTypes(
      buildBtf([
        { kind: INT, name: "unsigned int", value: 4, rest: [(2 << 16) | 3] },
        { kind: STRUCT, name: "s", value: 4, vlen: 1, rest: ["f", 1, 8] },
      ]),
    );
    expect(old.member("struct s", "f")).toMatchObject({ offset: 0, bitOffset: 10, bitSize: 3 });
  });

  it("reads a module's types on top of the kernel's", () => {
    const bytes = buildBtf(types);
    const stringLength = new DataView(bytes.buffer).getUint32(20, true);
    const split = new BtfTypes(
      buildBtf([{ kind: STRUCT, name: "mine", value: 196, vlen: 1, rest: ["inner", 10, 32] }], {
        firstString: stringLength,
      }),
      { base: btf },
    );
    expect(split.count).toBe(types.length + 1);
    expect(split.member("struct mine", "inner.name[1]")).toEqual({ offset: 9, size: 1, typeName: "char" });
    expect(split.sizeOf("struct module")).toBe(192);
    expect(split.enumerator("", "FLAG_HIGH")).toBe(0x80000000n);
  });

  it("tells the variables of a section with their types", () => {
    const btf = new BtfTypes(
      buildBtf([
        { kind: INT, name: "int", value: 4, rest: [32] }, // 1
        { kind: STRUCT, name: "rq", value: 8, vlen: 2, rest: ["lock", 1, 0, "nr", 1, 32] }, // 2
        { kind: ARRAY, rest: [2, 1, 3] }, // 3
        { kind: VAR, name: "runqueues", value: 2, rest: [0] }, // 4
        { kind: VAR, name: "bases", value: 3, rest: [0] }, // 5
        { kind: DATASEC, name: ".data..percpu", value: 96, vlen: 3, rest: [4, 64, 8, 5, 72, 24, 2, 0, 8] }, // 6
      ]),
    );
    // What the section lists and is no variable is left out.
    expect(btf.variables()).toEqual([
      { name: "runqueues", section: ".data..percpu", offset: 64, size: 8, count: undefined, typeName: "struct rq" },
      { name: "bases", section: ".data..percpu", offset: 72, size: 24, count: 3, typeName: "struct rq[3]" },
    ]);
  });

  it("skips an unknown kind when the blob tells its size (7.1)", () => {
    const layout = Array.from({ length: 22 }, (_, kind): [number, number] => (kind === 21 ? [4, 8] : [0, 0]));
    const news: FixtureType[] = [{ kind: 21, vlen: 2, rest: [1, 2, 3, 4, 5] }, types[0]];
    expect(new BtfTypes(buildBtf(news, { layout })).sizeOf("unsigned int")).toBe(4);
    expect(() => new BtfTypes(buildBtf(news))).toThrow("BTF+0x18: BTF kind 21 (type 1) is not supported");
  });
});

describe("a malformed blob", () => {
  const broken = (change: (bytes: Uint8Array, view: DataView) => void) => {
    const bytes = buildBtf(types);
    change(bytes, new DataView(bytes.buffer));
    return () => new BtfTypes(bytes, { where: "vmcore: BTF" });
  };
  it.each([
    ["magic", (b: Uint8Array) => b.fill(0, 0, 2), "vmcore: BTF+0x0: no BTF magic"],
    ["version", (b: Uint8Array) => b.fill(2, 2, 3), "vmcore: BTF+0x2: BTF version 2 is not supported"],
    ["header", (_: Uint8Array, v: DataView) => v.setUint32(4, 8, true), "vmcore: BTF+0x4: header length 8"],
    ["types", (_: Uint8Array, v: DataView) => v.setUint32(12, 0x7fffffff, true), /vmcore: BTF\+0x18: needs 2147483647/],
    ["strings", (b: Uint8Array) => b.fill(65, b.length - 1), "vmcore: BTF: the string section does not end with NUL"],
    ["vlen", (_: Uint8Array, v: DataView) => v.setUint16(24 + 4, 0xffff, true), undefined],
    ["kind", (b: Uint8Array) => b.fill(3, 24 + 7, 24 + 8), /runs past|is not supported|no plausible/],
  ] as const)("is told by its %s", (_, change, message) => {
    if (message === undefined) expect(broken(change)).not.toThrow();
    else expect(broken(change)).toThrow(message);
  });

  it("is told by a structure that runs past the end", () => {
    const bytes = buildBtf([{ kind: STRUCT, name: "s", value: 4, vlen: 9, rest: ["x", 1, 0] }]);
    expect(() => new BtfTypes(bytes)).toThrow("BTF+0x18: type 1 of kind 4 runs past the type section");
  });

  it("is told by names and types that are not there, when they are asked for", () => {
    const bytes = buildBtf([{ kind: STRUCT, name: "s", value: 4, vlen: 2, rest: [0x5000, 1, 0, "y", 77, 0] }]);
    expect(() => new BtfTypes(bytes).members("struct s")).toThrow(/^BTF\+0x24: name at 20480 of/);
    const types77 = buildBtf([{ kind: TYPEDEF, name: "t", value: 77 }]);
    expect(() => new BtfTypes(types77).sizeOf("t")).toThrow("BTF: type 77 of 1");
  });
});
