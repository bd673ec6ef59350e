import { describe, expect, it } from "vitest";
import { fromKernelOffset, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { FakeMemory } from "../sites/testing/fake-memory.ts";
import { arraySymbolTable } from "../symbols/array-symbols.ts";
import { buildKallsyms, type FixtureSymbol, sampleSymbols } from "../symbols/testing/build-kallsyms.ts";
import type { KernelSymbol } from "../symbols/types.ts";
import { type CoreSymbols, type GivenSymbols, readCoreSymbols } from "./core-symbols.ts";

const BANNER = fromKernelOffset(0x1800000);
const FUNCTIONS = sampleSymbols(undefined, true).filter(({ type }) => /^[tT]$/.test(type));
const PRINTK: FixtureSymbol = { name: "printk", type: "T", address: 0xffffffff81f00000n };
const variable = (name: string, address: bigint): KernelSymbol => ({
  name,
  address: virtualAddress(address),
  type: "D",
});
const given = (symbols: readonly FixtureSymbol[], banner: VirtualAddress = BANNER): GivenSymbols => ({
  origin: "vmlinux",
  table: arraySymbolTable([
    ...symbols.map((symbol) => ({ ...symbol, address: virtualAddress(symbol.address) })),
    variable("linux_banner", banner),
  ]),
});

/** Reads symbols of a dump whose kallsyms has `own`, none at all when undefined. */
function read(
  own: readonly FixtureSymbol[] | undefined,
  file: GivenSymbols | undefined,
  problems: string[] = [],
): CoreSymbols {
  const memory = new FakeMemory().text(BANNER, "Linux version 3.0.1 (me@here) #1");
  let image = { start: BANNER, length: 4096 };
  if (own !== undefined) {
    const fixture = buildKallsyms({ era: "3.0", symbols: own });
    memory.put(fixture.base, fixture.bytes);
    image = { start: virtualAddress(fixture.base), length: fixture.bytes.length };
  }
  return readCoreSymbols({ memory, image, evidence: "test" }, undefined, () => file, problems);
}

describe("the core's symbols", () => {
  it("are those of kallsyms when it has variables, without asking for a file", () => {
    const own = [...FUNCTIONS, { name: "linux_banner", type: "R", address: 0xffffffff81f00000n }];
    const { table, evidence } = read(own, given([]));
    expect(table.count).toBe(own.length);
    expect(evidence).toEqual([`kallsyms: ${own.length} symbols, addresses absolute`]);
  });

  it("are those of a vmlinux that proves to be of this build, when kallsyms has functions only", () => {
    const { table, evidence } = read(FUNCTIONS, given(FUNCTIONS));
    expect(table.lookup("linux_banner")?.address).toBe(BANNER);
    expect(evidence[0]).toMatch(/^symbols: vmlinux, (\d+) of \1 functions lie where kallsyms has them$/);
  });

  it("are not those of another build", () => {
    const moved = FUNCTIONS.map((symbol, i) => ({ ...symbol, address: symbol.address + BigInt(i) * 16n }));
    const problems: string[] = [];
    expect(() => read(FUNCTIONS, given(moved), problems)).toThrow(
      "every variable in this kernel's kallsyms (built without CONFIG_KALLSYMS_ALL) is missing; give the vmlinux",
    );
    expect(problems[0]).toMatch(
      /^the symbols of vmlinux are not used: \d+ of \d+ functions lie where kallsyms has them$/,
    );
    expect(() => read(FUNCTIONS, given(FUNCTIONS, fromKernelOffset(0x1900000)), problems)).toThrow("every variable");
    expect(problems[1]).toBe("the symbols of vmlinux are not used: no banner stands where they have linux_banner");
  });

  it("are functions and exports when there is no file either, and say what they lack", () => {
    const memory = new FakeMemory().text(BANNER, "Linux version 3.0.1 (me@here) #1");
    const fixture = buildKallsyms({ era: "3.0", symbols: [...FUNCTIONS, PRINTK] });
    // one export that kallsyms knows and one that it does not, behind kallsyms' own tables
    const exports = new Uint8Array(64);
    const view = new DataView(exports.buffer);
    const padding = new Uint8Array(-fixture.bytes.length & 7);
    const at = fixture.base + BigInt(fixture.bytes.length + padding.length);
    [PRINTK.address, at + 40n, at + 24n, at + 47n].forEach((value, i) => {
      view.setBigUint64(i * 8, value, true);
    });
    exports.set(new TextEncoder().encode("\0printk\0pv_lock_ops\0"), 39);
    memory.put(fixture.base, Uint8Array.of(...fixture.bytes, ...padding, ...exports));
    const image = { start: virtualAddress(fixture.base), length: Number(at - fixture.base) + exports.length };
    const { table, lacking } = readCoreSymbols({ memory, image, evidence: "test" }, undefined, undefined, []);
    expect(lacking).toMatch(/^kallsyms has no variables .*; give the vmlinux of this build/);
    expect([table.lookup("printk")?.type, table.lookup("pv_lock_ops")?.type]).toEqual(["T", "D"]);
  });

  it("are those of a vmlinux by its banner when there is no kallsyms at all", () => {
    expect(read(undefined, given(FUNCTIONS)).evidence).toEqual([
      "symbols: vmlinux, by the banner where they have linux_banner",
    ]);
    expect(() => read(undefined, undefined)).toThrow("the kernel's symbol table (kallsyms) is missing");
  });
});
