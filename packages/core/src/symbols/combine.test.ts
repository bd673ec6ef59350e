import { describe, expect, it } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { arraySymbolTable } from "./array-symbols.ts";
import { combineSymbols } from "./combine.ts";
import type { KernelSymbol } from "./types.ts";

const symbol = (name: string, address: bigint, type = "t", module?: string): KernelSymbol => ({
  name,
  address: virtualAddress(address),
  type,
  ...(module === undefined ? {} : { module }),
});
const core = arraySymbolTable([
  symbol("_end", 0xffffffff81002000n, "B"),
  symbol("local_alias", 0xffffffff81001000n),
  symbol("schedule", 0xffffffff81001000n, "T"),
  symbol("weak_alias", 0xffffffff81001000n, "W"),
  symbol("per_cpu", 0x1000n, "A"),
  symbol("init", 0xffffffff81000000n),
]);
const floppy = arraySymbolTable([
  symbol("init", 0xffffffffc0000000n, "t", "floppy"),
  symbol("redo_fd_request", 0xffffffffc0000100n, "t", "floppy"),
]);
const nearest = (table: typeof core, address: bigint) => {
  const found = table.nearest(virtualAddress(address));
  return found && [found.symbol.name, found.offset, found.size];
};

describe("arraySymbolTable", () => {
  it("sorts, and prefers the global of several at one address", () => {
    expect([...core.all()].map((s) => s.name)).toEqual([
      "per_cpu",
      "init",
      "local_alias",
      "schedule",
      "weak_alias",
      "_end",
    ]);
    expect(nearest(core, 0xffffffff81001004n)).toEqual(["schedule", 4, 0x1000]);
    expect(core.at(virtualAddress(0xffffffff81001000n))).toHaveLength(3);
    expect(core.at(virtualAddress(0xffffffff81001001n))).toEqual([]);
  });
  it("covers nothing below its first symbol, nor far above one", () => {
    expect(nearest(core, 0xfffn)).toBeUndefined();
    expect(nearest(core, 0xffff888000000000n)).toBeUndefined();
    expect(nearest(core, 0xffffffff80ffffffn)).toBeUndefined();
    expect(nearest(core, 0xffffffff81002010n)).toEqual(["_end", 0x10, undefined]);
    expect(nearest(core, 0xffffffff81022000n)).toBeUndefined();
  });
  it("may be empty", () => {
    const empty = arraySymbolTable([]);
    expect([empty.count, empty.lookup("x"), nearest(empty, 5n), [...empty.all()]]).toEqual([
      0,
      undefined,
      undefined,
      [],
    ]);
  });
});

describe("combineSymbols", () => {
  const both = combineSymbols(core, [floppy]);
  it("looks in the core first, and everywhere for all", () => {
    expect(both.count).toBe(8);
    expect(both.lookup("init")?.module).toBeUndefined();
    expect(both.lookup("redo_fd_request")?.module).toBe("floppy");
    expect(both.lookupAll("init").map((s) => s.module)).toEqual([undefined, "floppy"]);
    expect(both.lookup("nothing")).toBeUndefined();
  });
  it("gives the nearest of all tables, ended by the next of any", () => {
    expect(nearest(both, 0xffffffffc0000104n)).toEqual(["redo_fd_request", 4, undefined]);
    expect(nearest(both, 0xffffffffc0000004n)).toEqual(["init", 4, 0x100]);
    const rest = arraySymbolTable([
      symbol("inner", 0xffffffff81001800n, "t", "m"),
      symbol("later", 0xffffffff81009000n, "t", "m"),
    ]);
    expect(nearest(combineSymbols(core, [rest]), 0xffffffff81001900n)).toEqual(["inner", 0x100, 0x800]);
  });
  it("lists all in address order", () => {
    const addresses = [...both.all()].map((s) => s.address);
    expect(addresses).toEqual([...addresses].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    expect(both.at(virtualAddress(0xffffffffc0000000n)).map((s) => s.name)).toEqual(["init"]);
  });
});
