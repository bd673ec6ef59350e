// Section addresses that no loader writes: then a module is not compared, instead of every reference looking overwritten.
import { expect, it } from "vitest";
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import { placementProblem, unplacedSections } from "./module-placement.ts";

const BASE = 0xffffffffc0400000n;
const FILE: readonly (readonly [name: string, size: number, align: number, flags: number])[] = [
  [".text", 0x800, 16, 6],
  [".rodata.str1.1", 0x31, 1, 2],
  [".rodata", 0x100, 32, 2],
  [".data", 0x40, 8, 3],
  [".data..percpu", 0x40, 64, 3],
  [".init.text", 0x100, 16, 6],
  [".exit.text", 0x10, 16, 6],
  [".modinfo", 0x100, 1, 2],
  [".bss", 0, 8, 3],
  [".comment", 0x20, 1, 0],
];
const sections = FILE.map(([name, size, align, flags], index) => ({ index, name, size, align, flags }) as ElfSection);
const USUAL = { ".text": 0, ".rodata.str1.1": 0x1000, ".rodata": 0x1040, ".data": 0x2000, ".init.text": 0x9000 };

function module(changed: Readonly<Record<string, number | undefined>>): KernelModule {
  const placed = Object.entries({ ...USUAL, ...changed }).flatMap(([name, at]): [string, VirtualAddress][] =>
    at === undefined ? [] : [[name, virtualAddress(BASE + BigInt(at))]],
  );
  const regions = [{ kind: "core", base: virtualAddress(BASE), size: 0x3000 }];
  return { name: "quire", sections: new Map(placed), regions, text: textOf(0, 0x1000) } as unknown as KernelModule;
}

const textOf = (at: number, size: number) => ({ base: virtualAddress(BASE + BigInt(at)), size });

it.each<[string, Record<string, number | undefined>, string | undefined]>([
  ["as the loader laid them", {}, undefined],
  ["init memory, where another module lies now", { ".init.text": 0x10 }, undefined],
  ["outside", { ".data": 0x2fe0 }, ".data at 0xffffffffc0402fe0 lies outside of its memory"],
  ["far away", { ".rodata": -0x2000000000 }, ".rodata at 0xffffffdfc0400000 lies outside of its memory"],
  ["crooked", { ".rodata": 0x1044 }, ".rodata at 0xffffffffc0401044 is not aligned to 32 bytes"],
  ["over another", { ".rodata.str1.1": 0x7f0 }, ".rodata.str1.1 at 0xffffffffc04007f0 lies inside of .text"],
])("%s", (_name, changed, problem) => {
  expect(placementProblem(module(changed), sections)).toBe(problem);
});

it("misses the sections that a loader records", () => {
  expect([...unplacedSections(module({}), sections)]).toEqual([]);
  expect([...unplacedSections(module({ ".data": undefined, ".text": undefined }), sections)]).toEqual([0, 3]);
});

it("does not take the text of another for its own", () => {
  const next = { ...module({}), name: "vellum", text: textOf(0x4000, 0x1000) };
  const told = (size: number) => {
    const own = { ...module({}), text: textOf(0, size) };
    return placementProblem(own, sections, [own, next]);
  };
  expect([0x1000, 0x4000].map(told)).toEqual([undefined, undefined]);
  expect(told(0x5000)).toBe("its text claims 20480 bytes, of which the last lie in the memory of vellum");
});
