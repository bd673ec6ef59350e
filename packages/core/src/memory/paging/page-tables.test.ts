import { describe, expect, it } from "vitest";
import { physicalAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import { BufferSource } from "../../bytes/source.ts";
import { FileRunMemory } from "../formats/file-runs.ts";
import { PageTableMemory } from "./page-tables.ts";

const va = virtualAddress;
const P = 1n; // present
const W = 2n;
const U = 4n;
const PSE = 0x80n;
const NX = 1n << 63n;
const TEXT = 0xffffffff81000000n;

/** 16 MiB of memory; tables are put in by `entry`, a byte at any place is its address's hash. */
function machine(bytes = 16 << 20) {
  const memory = new Uint8Array(bytes);
  const view = new DataView(memory.buffer);
  for (let at = 0x100000; at < bytes; at += 4) view.setUint32(at, Math.imul(at, 0x9e3779b1), true);
  const entry = (table: number, index: number, value: bigint) => view.setBigUint64(table + index * 8, value, true);
  for (let at = 0x1000; at < 0x20000; at += 8) view.setBigUint64(at, 0n, true);
  const runs = [{ physical: 0, offset: 0, length: bytes }];
  const physical = new FileRunMemory(new BufferSource("memory", memory), runs);
  return { memory, view, entry, physical };
}

/** Four levels: pgd 0x1000 → pud 0x2000 → pmd 0x3000 → pte 0x4000; two 2 MiB pages and then 4 KiB pages at TEXT. */
function kernelMap() {
  const m = machine();
  m.entry(0x1000, 511, 0x2000n | P | W | U);
  m.entry(0x2000, 510, 0x3000n | P | W | U);
  m.entry(0x3000, 8, 0x200000n | P | PSE | U | 0x1000n); // the PAT bit is no address
  m.entry(0x3000, 9, 0x400000n | P | W | PSE | NX);
  m.entry(0x3000, 10, 0x4000n | P | W);
  m.entry(0x4000, 0, 0x800000n | P | W);
  m.entry(0x4000, 1, 0x700000n | P | NX);
  m.entry(0x4000, 3, 0x7f000000n | P);
  return { ...m, vm: new PageTableMemory(m.physical, physicalAddress(0x1000n), 4) };
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

const levelOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    if (error instanceof AddressError) return `${error.level}: ${error.problem}`;
    throw error;
  }
  return "mapped";
};

describe("four levels", () => {
  it("translates 2 MiB and 4 KiB pages with the rights of all levels", () => {
    const { vm } = kernelMap();
    expect(vm.translate(va(TEXT + 0x1234n))).toEqual({
      physical: 0x201234n,
      pageSize: 2 << 20,
      writable: false,
      executable: true,
      user: true,
    });
    expect(vm.translate(va(TEXT + 0x200000n))).toMatchObject({
      physical: 0x400000n,
      writable: true,
      executable: false,
      user: false,
    });
    expect(vm.translate(va(TEXT + 0x400010n))).toEqual({
      physical: 0x800010n,
      pageSize: 4096,
      writable: true,
      executable: true,
      user: false,
    });
    expect(vm.translate(va(TEXT + 0x401000n))).toMatchObject({ writable: false, executable: false });
  });

  it("reads over mappings of any size and order", () => {
    const { vm, memory } = kernelMap();
    const got = vm.read(va(TEXT + 0x1ff000n), 0x203000);
    expect(same(got.subarray(0, 0x1000), memory.subarray(0x3ff000, 0x400000))).toBe(true);
    expect(same(got.subarray(0x1000, 0x201000), memory.subarray(0x400000, 0x600000))).toBe(true);
    expect(same(got.subarray(0x201000, 0x202000), memory.subarray(0x800000, 0x801000))).toBe(true);
    expect(same(got.subarray(0x202000), memory.subarray(0x700000, 0x701000))).toBe(true);
  });

  it("reads small values, over page borders too", () => {
    const { vm, view, memory } = kernelMap();
    memory.set([1, 2, 3, 4], 0x800ffc);
    memory.set([5, 6, 7, 0x48, 0], 0x700000);
    const at = va(TEXT + 0x400ffcn);
    expect(vm.u64(at)).toBe(0x4807060504030201n);
    expect(vm.pointer(at)).toBe(0x4807060504030201n);
    expect(vm.u32(va(at + 2n))).toBe(0x06050403);
    expect(vm.i32(va(at + 4n))).toBe(0x48070605);
    expect(vm.u16(va(at + 3n))).toBe(0x0504);
    expect(vm.u8(at)).toBe(1);
    expect(vm.u32(va(TEXT + 0x10n))).toBe(view.getUint32(0x200010, true));
    expect(vm.cstring(at)).toBe("\x01\x02\x03\x04\x05\x06\x07\x48");
    expect(vm.cstring(at, 3)).toBe("\x01\x02\x03");
  });

  it.each<[bigint, string]>([
    [0x0000800000000000n, "canonical: is not canonical with 4 table levels"],
    [0xffff7fffffffffffn, "canonical: is not canonical with 4 table levels"],
    [0xffff800000000000n, "pgd: is not mapped"],
    [0xffffffff40000000n, "pud: is not mapped"],
    [TEXT - 1n, "pmd: is not mapped"],
    [TEXT + 0x402000n, "pte: is not mapped"],
    [TEXT + 0x403000n, "page: physical 0x7f000000 is not in the dump"],
  ])("names the level at which %#x ends", (address, level) => {
    const { vm } = kernelMap();
    expect(levelOf(() => vm.u64(va(address)))).toBe(level);
    expect(levelOf(() => vm.read(va(address), 8))).toBe(level);
    expect(vm.tryRead(va(address), 8)).toBeUndefined();
    if (!level.startsWith("page")) expect(vm.tryTranslate(va(address))).toBeUndefined();
  });

  it("reports what is absent, merged and ascending", () => {
    const { vm, memory } = kernelMap();
    const into = new Uint8Array(0x6000).fill(0xee);
    const gaps: [number, number, string | undefined][] = [];
    vm.readPresent(va(TEXT + 0x400000n), into, (offset, length, why) => gaps.push([offset, length, why?.level]));
    expect(gaps).toEqual([[0x2000, 0x4000, "pte"]]);
    expect(into.subarray(0, 0x1000)).toEqual(memory.subarray(0x800000, 0x801000));
    expect(into.subarray(0x2000).every((byte) => byte === 0)).toBe(true);
  });

  it("steps over large holes at once and stops at the end of the address space", () => {
    const { vm } = kernelMap();
    const into = new Uint8Array(64 << 20);
    const gaps: [number, number][] = [];
    vm.readPresent(va(0n), into, (offset, length) => gaps.push([offset, length]));
    expect(gaps).toEqual([[0, 64 << 20]]);
    expect(levelOf(() => vm.read(va(0xfffffffffffffffen), 4))).toMatch(/^pud|^pmd/);
    const end = new Uint8Array(0x3000);
    gaps.length = 0;
    vm.readPresent(va(0xfffffffffffff000n), end, (offset, length) => gaps.push([offset, length]));
    expect(gaps).toEqual([[0, 0x3000]]);
  });

  it("bounds the length of a read", () => {
    const { vm } = kernelMap();
    expect(() => vm.read(va(TEXT), 2 ** 40)).toThrow("is not within");
    expect(() => vm.read(va(TEXT), -1)).toThrow("is not within");
    expect(() => vm.read(va(TEXT), Number.NaN)).toThrow("is not within");
    expect(vm.read(va(TEXT), 0)).toHaveLength(0);
  });
});

describe("five levels", () => {
  it("walks the p4d, knows 1 GiB pages and the wider canonical rule", () => {
    const m = machine();
    m.entry(0x1000, 0x110, 0x2000n | P | W);
    m.entry(0x2000, 3, 0x3000n | P | W);
    m.entry(0x3000, 7, 0x0n | P | W | PSE | NX);
    m.entry(0x3000, 8, 0x40000000n | P | W | PSE);
    const vm = new PageTableMemory(m.physical, physicalAddress(0x1000n), 5);
    const base = (0xffn << 56n) | (0x110n << 48n) | (3n << 39n) | (7n << 30n);
    expect(vm.translate(va(base + 0x123456n))).toEqual({
      physical: 0x123456n,
      pageSize: 1 << 30,
      writable: true,
      executable: false,
      user: false,
    });
    expect(vm.read(va(base + 0x500000n), 8)).toEqual(m.memory.slice(0x500000, 0x500008));
    expect(levelOf(() => vm.u8(va(base + (1n << 30n))))).toBe("page: physical 0x40000000 is not in the dump");
    expect(levelOf(() => vm.u8(va(base + (1n << 39n))))).toBe("p4d: is not mapped");
    expect(levelOf(() => vm.u8(va(0xfe00000000000000n)))).toContain("canonical");
    expect(levelOf(() => vm.u8(va(0xff00000000000000n)))).toBe("pgd: is not mapped");
  });
});

describe("garbage tables", () => {
  it("ends a walk in tables that point to themselves or outside memory", () => {
    const m = machine();
    m.entry(0x1000, 256, 0x1000n | P | W);
    m.entry(0x1000, 0, 0x1000n | P);
    m.entry(0x1000, 257, 0x000ffffffffff000n | P);
    m.entry(0x1000, 258, 0x2000n | P | PSE);
    const vm = new PageTableMemory(m.physical, physicalAddress(0x1000n), 4);
    expect(vm.translate(va(0xffff800000000000n)).physical).toBe(0x1000n);
    expect(levelOf(() => vm.u8(va(0xffff808000000000n)))).toContain(
      "pud: its page table at physical 0xffffffffff000 is not in the dump",
    );
    expect(levelOf(() => vm.u8(va(0xffff810000000000n)))).toContain("pgd: entry has the large-page bit");
  });

  it("says so when the root itself is absent", () => {
    const vm = new PageTableMemory(machine().physical, physicalAddress(0x7f0000000n), 4);
    expect(levelOf(() => vm.u8(va(TEXT)))).toContain("pgd: its page table at physical 0x7f0000000 is not in the dump");
  });
});

describe("segments", () => {
  it("answers from the dump's segments only where the tables do not", () => {
    const { physical, memory } = kernelMap();
    const segments = [
      { virtual: va(TEXT + 0x402000n), physical: physicalAddress(0x300000n), length: 0x2000n },
      { virtual: va(TEXT), physical: physicalAddress(0x900000n), length: 0x1000n },
    ];
    const vm = new PageTableMemory(physical, physicalAddress(0x1000n), 4, segments);
    expect(vm.translate(va(TEXT)).physical).toBe(0x200000n);
    expect(vm.translate(va(TEXT + 0x402010n))).toMatchObject({ physical: 0x300010n, pageSize: 4096, executable: true });
    expect(vm.u8(va(TEXT + 0x402010n))).toBe(memory[0x300010]);
    const gaps: [number, number][] = [];
    vm.readPresent(va(TEXT + 0x401000n), new Uint8Array(0x4000), (offset, length) => gaps.push([offset, length]));
    expect(gaps).toEqual([[0x2000, 0x2000]]);
  });
});
