import { describe, expect, it } from "vitest";
import { at, fakeKernel } from "../sites/testing/fake-kernel.ts";
import { exportedSymbol } from "./exports.ts";

const ENTRY = 0x1400000;
const VALUE = 0x1000000;

describe("what a name means to a module", () => {
  it("is the export where kallsyms leaves an absolute symbol out, as jiffies up to 3.x", () => {
    const kernel = fakeKernel({ symbols: { __ksymtab_jiffies: ENTRY } });
    kernel.memory.put64(at(ENTRY), at(VALUE));
    expect(exportedSymbol(kernel, "jiffies", "floppy")).toBe(at(VALUE));
  });

  it("is the export that a relative entry leads to, since 4.19", () => {
    const kernel = fakeKernel({ symbols: { __ksymtab_jiffies: ENTRY } });
    kernel.memory.put32(at(ENTRY), VALUE - ENTRY).put32(at(ENTRY) + 4n, 0x2000);
    expect(exportedSymbol(kernel, "jiffies", "floppy")).toBe(at(VALUE));
  });

  it("is the core's symbol, else another module's, never its own", () => {
    const symbols = { printk: VALUE, "fat:fat_scan": VALUE + 16, "vfat:fat_scan": VALUE + 32 };
    const kernel = fakeKernel({ symbols });
    expect(exportedSymbol(kernel, "printk", "vfat")).toBe(at(VALUE));
    expect(exportedSymbol(kernel, "fat_scan", "vfat")).toBe(at(VALUE + 16));
    expect(exportedSymbol(kernel, "nothing", "vfat")).toBeUndefined();
  });
});
