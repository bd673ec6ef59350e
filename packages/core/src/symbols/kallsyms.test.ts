import { describe, expect, it } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { findKallsyms } from "./find-kallsyms.ts";
import { kallsymsFromVmcoreinfo, readKallsyms } from "./kallsyms.ts";
import { bytesReader } from "./reader.ts";
import { buildKallsyms, type FixtureOptions, type KallsymsFixture, sampleSymbols } from "./testing/build-kallsyms.ts";

const eras = ["3.0", "5.10", "6.2", "6.12", "7.0"] as const;

function build(era: FixtureOptions["era"], options: Partial<FixtureOptions> = {}): KallsymsFixture {
  return buildKallsyms({ era, symbols: sampleSymbols(undefined, era !== "7.0"), ...options });
}
function read(fixture: KallsymsFixture) {
  const locations = findKallsyms(fixture.bytes, virtualAddress(fixture.base));
  if (locations === undefined) throw new Error("not found");
  return readKallsyms(bytesReader(fixture.bytes, virtualAddress(fixture.base)), locations);
}

describe.each(eras)("kallsyms of %s", (era) => {
  it("is found by structure, where it is", () => {
    const fixture = build(era);
    const found = findKallsyms(fixture.bytes, virtualAddress(fixture.base));
    expect(found).toEqual({
      names: fixture.at.kallsyms_names,
      numSyms: fixture.at.kallsyms_num_syms,
      tokenTable: fixture.at.kallsyms_token_table,
      tokenIndex: fixture.at.kallsyms_token_index,
      addresses: fixture.at.kallsyms_addresses,
      offsets: fixture.at.kallsyms_offsets,
      relativeBase: fixture.at.kallsyms_relative_base,
    });
  });

  it("gives every symbol with its address and letter", () => {
    const table = read(build(era));
    expect([...table.all()]).toEqual(sampleSymbols(undefined, era !== "7.0"));
    expect(table.lookup("sys_call_in_5")).toEqual({ name: "sys_call_in_5", type: "t", address: 0xffffffff81000060n });
    expect(table.lookupAll("sys_call_in_3").map((s) => s.address)).toEqual([0xffffffff81000040n, 0xffffffff81002b60n]);
    expect(table.lookup("sys_call_in_")).toBeUndefined();
    expect(table.lookup("")).toBeUndefined();
  });

  it("is found with the least data around it, and not in a part of itself", () => {
    const fixture = build(era, { padding: 8 });
    expect(findKallsyms(fixture.bytes, virtualAddress(fixture.base))).toBeDefined();
    const cut = fixture.bytes.subarray(0, Number(fixture.at.kallsyms_token_index - fixture.base) + 100);
    expect(findKallsyms(cut, virtualAddress(fixture.base))).toBeUndefined();
  });
});

it("tells the encodings and the lengths apart", () => {
  const encodings = eras.map((era) => read(build(era)).encoding);
  expect(encodings).toEqual(["absolute", "percpu-absolute", "percpu-absolute", "percpu-absolute", "place-relative"]);
  const long = { name: "x".repeat(200), type: "T", address: 0xffffffff81010000n };
  for (const bigSymbols of [true, false]) {
    const table = read(build("5.10", { symbols: [...sampleSymbols(), long], bigSymbols }));
    expect(table.nameLengths).toBe(bigSymbols ? "uleb128" : "byte");
    expect(table.lookup(long.name)).toEqual(long);
  }
});

it("reads offsets without per-CPU symbols as plain distances (6.15)", () => {
  const symbols = sampleSymbols(0xffffffff81000000n, false);
  const fixture = build("6.12", { symbols });
  const view = new DataView(fixture.bytes.buffer);
  const offsets = Number(fixture.at.kallsyms_offsets - fixture.base);
  symbols.forEach((s, i) => {
    view.setUint32(offsets + i * 4, Number(s.address - symbols[0].address), true);
  });
  const table = read(fixture);
  expect(table.encoding).toBe("base-relative");
  expect([...table.all()]).toEqual(symbols);
});

describe("nearest", () => {
  const table = read(build("6.12"));
  const nearest = (address: bigint) => table.nearest(virtualAddress(address));
  it("gives offset and size, the last of equal rank giving way to the first global one", () => {
    expect(nearest(0xffffffff81000065n)).toMatchObject({ symbol: { name: "sys_call_in_5" }, offset: 5, size: 16 });
    expect(nearest(0xffffffff81000000n)).toMatchObject({ symbol: { name: "_text" }, offset: 0, size: 16 });
    expect(table.at(virtualAddress(0xffffffff81000000n)).map((s) => s.name)).toEqual(["_text", "_stext"]);
  });
  it("covers nothing far beyond: the direct map is no part of a per-CPU symbol, a module none of _end", () => {
    expect(nearest(0xffff888000000000n)).toBeUndefined();
    expect(nearest(0xffffffffc0000000n)).toBeUndefined();
    expect(nearest(0x200n)).toMatchObject({ symbol: { name: "cpu_number" }, offset: 0x40, size: undefined });
  });
});

describe("what VMCOREINFO tells", () => {
  const fixture = build("6.12");
  const reader = bytesReader(fixture.bytes, virtualAddress(fixture.base));
  const locations = (change: Record<string, bigint | undefined> = {}) =>
    kallsymsFromVmcoreinfo((name) => ({ ...fixture.at, ...change })[name]);

  it("suffices", () => {
    expect(readKallsyms(reader, locations()!).lookup("_end")?.address).toBe(0xffffffff81010000n);
    expect(locations({ kallsyms_offsets: undefined })).toBeUndefined();
    expect(locations({ kallsyms_names: undefined })).toBeUndefined();
  });

  it.each([
    [
      "kallsyms_names",
      fixture.at.kallsyms_token_index,
      /kallsyms_names: .* is not shortly before kallsyms_token_table/,
    ],
    ["kallsyms_token_index", fixture.at.kallsyms_names, /kallsyms_token_table: .* is not shortly before/],
    ["kallsyms_num_syms", fixture.at.kallsyms_relative_base, /kallsyms_num_syms: \d+ symbols cannot have their names/],
    ["kallsyms_num_syms", fixture.at.kallsyms_markers + 4n, /no reading of \d+ names agrees with kallsyms_markers/],
    ["kallsyms_relative_base", fixture.at.kallsyms_names, /kallsyms_relative_base: .* is no kernel address/],
    ["kallsyms_offsets", fixture.base + 0x100000n, /bytes are not all in/],
  ] as const)("a wrong %s is named", (name, value, message) => {
    expect(() => readKallsyms(reader, locations({ [name]: value })!)).toThrow(message);
  });

  it("a damaged token index is named with its place", () => {
    const bytes = fixture.bytes.slice();
    bytes[Number(fixture.at.kallsyms_token_index - fixture.base) + 20] ^= 1;
    expect(() => readKallsyms(bytesReader(bytes, virtualAddress(fixture.base)), locations()!)).toThrow(
      /^kallsyms_token_index\+0x14: token 10 said to be at/,
    );
  });

  it("a damaged name makes the markers disagree", () => {
    const bytes = fixture.bytes.slice();
    bytes[Number(fixture.at.kallsyms_names - fixture.base)] += 1;
    expect(() => readKallsyms(bytesReader(bytes, virtualAddress(fixture.base)), locations()!)).toThrow(
      /agrees with kallsyms_markers/,
    );
  });
});

it("finds nothing in zeros, digits alone or chance", () => {
  const base = virtualAddress(0xffffffff82000000n);
  const digits = new TextEncoder().encode("0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0").slice();
  expect(findKallsyms(new Uint8Array(1 << 16), base)).toBeUndefined();
  expect(findKallsyms(digits, base)).toBeUndefined();
  expect(findKallsyms(Uint8Array.from([...digits, ...new Uint8Array(4096)]), base)).toBeUndefined();
  let seed = 1;
  const noise = Uint8Array.from({ length: 1 << 16 }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 24;
  });
  expect(findKallsyms(noise, base)).toBeUndefined();
});
