// Which of several symbols of one name a module is linked to.
import { describe, expect, it } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { arraySymbolTable } from "../symbols/array-symbols.ts";
import type { KernelSymbol } from "../symbols/types.ts";
import { exportedSymbol } from "./exports.ts";

const symbol = (name: string, low: number, type: string, module?: string): KernelSymbol => ({
  name,
  address: virtualAddress(0xffffffff81000000n + BigInt(low)),
  type,
  module,
});

/** A kernel with these symbols; `ksymtab` is the s32 at __ksymtab_NAME, relative to itself; functions begin at `starts`. */
function kernelOf(core: KernelSymbol[], modules: KernelSymbol[] = [], ksymtab?: number, starts: number[] = []): Kernel {
  const memory = {
    tryRead: (address: bigint, length: number) => {
      if (starts.includes(Number(address & 0xffffffn))) return Uint8Array.of(0x0f, 0x1f, 0x44, 0, 0);
      const bytes = new Uint8Array(length);
      new DataView(bytes.buffer).setInt32(0, ksymtab ?? 0, true);
      return ksymtab === undefined ? undefined : bytes;
    },
  };
  const symbols = arraySymbolTable(core);
  return { symbols, allSymbols: arraySymbolTable([...core, ...modules]), memory } as unknown as Kernel;
}

const found = (kernel: Kernel, name = "open"): string | undefined =>
  exportedSymbol(kernel, name, "asking")?.toString(16);

describe("exportedSymbol", () => {
  it("takes the only one, local or not", () => {
    expect(found(kernelOf([symbol("open", 0x10, "t")]))).toBe("ffffffff81000010");
  });
  it("puts a global symbol before local ones of the name", () => {
    expect(found(kernelOf([symbol("open", 0x10, "t"), symbol("open", 0x20, "T")]))).toBe("ffffffff81000020");
  });
  it("believes __ksymtab before that", () => {
    const core = [symbol("open", 0x10, "T"), symbol("open", 0x20, "T"), symbol("__ksymtab_open", 0x100, "r")];
    expect(found(kernelOf(core, [], 0x20 - 0x100))).toBe("ffffffff81000020");
  });
  it.each([
    ["kallsyms is damaged", [0x20], "ffffffff81000020"],
    ["the export is damaged", [0x10], "ffffffff81000010"],
    ["nothing tells which", [], "ffffffff81000010"],
  ])("where the two differ takes the one where a function begins: %s", (_name, starts, address) => {
    const core = [symbol("open", 0x10, "T"), symbol("__ksymtab_open", 0x100, "r")];
    expect(found(kernelOf(core, [], 0x20 - 0x100, starts))).toBe(address);
  });
  it("looks into other modules last, and never into the asking one", () => {
    const modules = [symbol("open", 0x30, "T", "asking"), symbol("open", 0x40, "T", "other")];
    expect(found(kernelOf([], modules))).toBe("ffffffff81000040");
    expect(found(kernelOf([], modules.slice(0, 1)))).toBeUndefined();
  });
});
