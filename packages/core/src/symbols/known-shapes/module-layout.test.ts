import { describe, expect, it } from "vitest";
import { FixtureMemory } from "../testing/build-memory.ts";
import { discoverModuleLayout } from "./module-layout.ts";
import { ShapeTypes } from "./shape-types.ts";

const HEAD = 0xffffffff81600000n;
const AREA = 0xffffffffa0000000n;
const HEAP = 0xffff880000100000n;
const SECTIONS = 0xffffffff81700000n;

type Era = "3.0" | "5.10" | "6.12" | "7.2";
interface Options {
  readonly era: Era;
  readonly modules: number;
  readonly change?: (memory: FixtureMemory, structs: readonly bigint[]) => void;
}

/** Modules as each era's loader leaves them, the structure 0x400 into its block. */
function build({ era, modules, change }: Options): FixtureMemory {
  const memory = new FixtureMemory().text(SECTIONS, "sections");
  const structs: bigint[] = [];
  for (let i = 0; i < modules; i++) {
    const text = AREA + BigInt(i) * 0x10000n;
    const core = era === "6.12" || era === "7.2" ? text + 0x8000n : text;
    const at = core + 0x400n;
    structs.push(at);
    memory.bytes(core, new Uint8Array(0x3000)).bytes(text, new Uint8Array(0x1000));
    memory.u32(at, 0).text(at + 24n, `module_${i}`);
    memory.u64(at + 304n, HEAP + 0x40n); // something that is no block
    const symbols = core + 0x1000n;
    const strings = core + 0x1800n;
    memory
      .u64(symbols, 0n, 0n, 0n)
      .u32(symbols + 24n, 1)
      .u64(symbols + 32n, core);
    memory.bytes(strings, [0]).text(strings + 1n, "init_module");
    const group = HEAP + BigInt(i) * 0x1000n;
    const args = group + 0xf00n;
    memory.text(args, "x");
    sections(memory, era, group, [text, text + 0x100n, text + 0x200n]);
    const kallsyms = (member: bigint) => {
      memory.u64(member, member + 8n, symbols).u32(member + 16n, 2);
      memory.u64(member + 24n, strings, core + 0x1900n).text(core + 0x1900n, "tT");
      return member + 40n;
    };
    let next: bigint;
    if (era === "3.0") {
      memory.u64(at + 312n, 0n, core).u32(at + 328n, 0, 0x3000, 0, 0x800, 0, 0x1000);
      memory
        .u64(at + 400n, symbols, symbols)
        .u32(at + 416n, 2, 2)
        .u64(at + 424n, strings, strings);
      next = at + 440n;
    } else if (era === "5.10") {
      memory
        .u64(at + 320n, core)
        .u32(at + 328n, 0x3000, 0x800, 0x1000, 0x1000)
        .u64(at + 344n, at);
      next = kallsyms(at + 544n);
    } else {
      const sizeAt = era === "7.2" ? 12n : 8n;
      [text, core, text + 0x4000n].forEach((base, k) => {
        const entry = at + 320n + BigInt(k) * 72n;
        memory
          .u64(entry, base)
          .u32(entry + sizeAt, k === 1 ? 0x3000 : 0x1000)
          .u64(entry + 16n, at);
      });
      next = kallsyms(at + 888n);
    }
    memory.u64(next, group, 0n, args, i === 0 ? 0x13000n : 0n).u32(next + 32n, i === 0 ? 64 : 0);
  }
  memory.list(HEAD, ...structs.map((at) => at + 8n));
  change?.(memory, structs);
  return memory;
}

function sections(memory: FixtureMemory, era: Era, group: bigint, addresses: readonly bigint[]): void {
  memory.u64(group, SECTIONS);
  const groupSize = era === "3.0" ? 24n : 40n;
  const names = [".text", ".data", "__ksymtab"].map((name, i) => {
    memory.text(group + 0xe00n + BigInt(i) * 16n, name);
    return group + 0xe00n + BigInt(i) * 16n;
  });
  const first = era === "7.2" ? group + groupSize : group + groupSize + 8n;
  if (era !== "7.2") memory.u32(group + groupSize, addresses.length);
  addresses.forEach((address, i) => {
    if (era === "3.0") {
      const row = first + BigInt(i) * 72n;
      memory.u64(row, names[i]).u64(row + 56n, names[i], address);
    } else if (era === "7.2") {
      const row = first + BigInt(i) * 72n;
      memory.u64(row, names[i]).u64(row + 24n, address);
    } else {
      const row = first + BigInt(i) * 64n;
      memory.u64(row, names[i]).u64(row + 56n, address);
    }
  });
}

function discover(options: Options) {
  const found = discoverModuleLayout(build(options), HEAD, true);
  return found && { types: new ShapeTypes("test", found.shapes), evidence: found.evidence };
}

describe("discoverModuleLayout", () => {
  it.each([1, 3])("3.0, %i modules: the flat members", (modules) => {
    const { types, evidence } = discover({ era: "3.0", modules })!;
    const at = (path: string) => types.member("struct module", path)?.offset;
    expect([at("module_init"), at("module_core"), at("core_size"), at("core_text_size")]).toEqual([312, 320, 332, 340]);
    expect([at("symtab"), at("num_symtab"), at("strtab"), at("sect_attrs")]).toEqual([400, 416, 424, 440]);
    expect([at("percpu"), at("percpu_size"), at("list.next"), at("name")]).toEqual([464, 472, 8, 24]);
    expect(types.member("struct module", "name")).toEqual({ offset: 24, size: 56, count: 56, typeName: "char[56]" });
    expect(types.sizeOf("struct module_sect_attr")).toBe(72);
    expect(types.member("struct module_sect_attr", "name")?.offset).toBe(56);
    expect(types.member("struct module_sect_attr", "address")?.offset).toBe(64);
    expect(types.member("struct module_sect_attrs", "nsections")?.offset).toBe(24);
    expect(types.sizeOf("struct module")).toBeUndefined();
    expect(evidence[0]).toContain("names at +24: module_");
  });

  it("5.10: core_layout, kallsyms that point behind themselves, rows with one name", () => {
    const { types } = discover({ era: "5.10", modules: 2 })!;
    const at = (path: string) => types.member("struct module", path)?.offset;
    expect([at("core_layout.base"), at("core_layout.text_size"), at("init_layout.base")]).toEqual([320, 332, 400]);
    expect([at("kallsyms"), at("sect_attrs"), at("percpu")]).toEqual([544, 584, 608]);
    expect(types.member("struct mod_kallsyms", "typetab")?.offset).toBe(24);
    expect(types.member("struct module_sect_attr", "battr.attr.name")?.offset).toBe(0);
    expect(types.sizeOf("struct module_sect_attr")).toBe(64);
  });

  it.each([
    ["6.12", 8],
    ["7.2", 12],
  ] as const)("%s: mem[], its size at +%i", (era, sizeAt) => {
    const { types } = discover({ era, modules: 2 })!;
    expect(types.member("struct module", "mem[1].size")?.offset).toBe(320 + 72 + sizeAt);
    expect(types.member("struct module", "mem")?.count).toBe(7);
    const rows = era === "7.2" ? "struct bin_attribute" : "struct module_sect_attr";
    expect(types.member(rows, era === "7.2" ? "private" : "address")?.offset).toBe(era === "7.2" ? 24 : 56);
  });

  it("a module that is still loading does not hide the others' symbols", () => {
    const loading: Options["change"] = (memory, [at]) => memory.u32(at, 1).u64(at + 400n, 5n);
    const { types } = discover({ era: "3.0", modules: 3, change: loading })!;
    expect(types.member("struct module", "symtab")?.offset).toBe(400);
  });

  it.each([
    ["3.0", 400],
    ["5.10", 544],
  ] as const)(
    "%s: finds the symbols in the init part of a module that is the only one and still loading",
    (era, symtab) => {
      const change: Options["change"] = (memory, [at]) => {
        const init = at + 0x100000n - (at & 0xfffn);
        memory
          .u32(at, 1)
          .bytes(init, new Uint8Array(0x2000))
          .u32(init + 24n, 1)
          .text(init + 0x801n, "init_module");
        if (era === "3.0") {
          memory
            .u64(at + 312n, init)
            .u32(at + 328n, 0x2000)
            .u32(at + 336n, 0x400);
          memory.u64(at + 400n, init).u64(at + 424n, init + 0x800n);
        } else {
          memory.u64(at + 400n, init).u32(at + 408n, 0x2000);
          memory.u64(at + 544n, init + 0x1000n).u64(init + 0x1000n, init, 2n, init + 0x800n);
        }
      };
      const { types } = discover({ era, modules: 1, change })!;
      expect(types.member("struct module", era === "3.0" ? "symtab" : "kallsyms")?.offset).toBe(symtab);
      expect(types.member("struct module", "sect_attrs")?.offset).toBe(era === "3.0" ? 440 : 584);
    },
  );

  it.each([
    ["no modules", { era: "3.0", modules: 0 }],
    ["blocks that do not hold their structure", { era: "3.0", modules: 2, change: breakCore }],
    ["names that are none", { era: "3.0", modules: 1, change: (m, [at]) => m.bytes(at + 24n, [1, 2, 3]) }],
  ] as [string, Options][])("finds nothing in %s", (_, options) => {
    expect(discover(options)).toBeUndefined();
  });

  it("outlives one module of many that is damaged", () => {
    const change: Options["change"] = (m, [at]) =>
      m
        .u64(at + 320n, 7n)
        .u64(at + 400n, 7n)
        .u64(at + 440n, 7n);
    const { types } = discover({ era: "3.0", modules: 6, change })!;
    expect(types.member("struct module", "module_core")?.offset).toBe(320);
    expect(types.member("struct module", "sect_attrs")?.offset).toBe(440);
  });

  it("ends on a list that breaks or goes round inside", () => {
    const broken = discover({ era: "3.0", modules: 3, change: (m, [, b]) => m.u64(b + 8n, 0x1234n) })!;
    expect(broken.evidence[0]).toContain("2 on the list (which breaks)");
    const round = discover({ era: "3.0", modules: 2, change: (m, [a]) => m.u64(a + 8n, a + 8n).u64(a + 16n, a + 8n) });
    expect(round?.evidence[0] ?? "breaks").toContain("breaks");
  });
});

function breakCore(memory: FixtureMemory, structs: readonly bigint[]): void {
  for (const at of structs) memory.u64(at + 320n, AREA + 0x800000n);
}
