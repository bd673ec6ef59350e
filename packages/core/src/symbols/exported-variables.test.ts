import { describe, expect, it } from "vitest";
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { arraySymbolTable } from "./array-symbols.ts";
import { findVariables } from "./exported-variables.ts";

const BASE = 0xffffffff81000000n;
const MODULE = 0xffffffffa0004000n;
const PRINTK = 0xffffffff81000100n;
const KFREE = 0xffffffff81000200n;

const functions = arraySymbolTable([
  { name: "printk", address: virtualAddress(PRINTK), type: "T" },
  { name: "kfree", address: virtualAddress(KFREE), type: "T" },
]);

interface World {
  /** name → value, in the order of the table */
  exports?: readonly (readonly [string, bigint])[];
  banner?: string;
  /** what the list head at +0x3000 leads to: a struct module's state and name */
  module?: { state: number; name: string; prev?: bigint };
}

function find({ exports = [], banner, module }: World): Record<string, string> {
  const bytes = new Uint8Array(0x4000);
  const view = new DataView(bytes.buffer);
  const write = (at: number, text: string): void => bytes.set(new TextEncoder().encode(text), at);
  let name = 0x2001;
  exports.forEach(([text, value], i) => {
    view.setBigUint64(0x1000 + i * 16, value, true);
    view.setBigUint64(0x1008 + i * 16, BASE + BigInt(name), true);
    write(name, text);
    name += text.length + 1;
  });
  if (banner !== undefined) write(0x2800, banner);
  const node = new Uint8Array(80);
  if (module !== undefined) {
    view.setBigUint64(0x3000, MODULE + 8n, true);
    view.setBigUint64(0x3008, MODULE + 8n, true);
    const fields = new DataView(node.buffer);
    fields.setUint32(0, module.state, true);
    fields.setBigUint64(8, BASE + 0x3000n, true);
    fields.setBigUint64(16, module.prev ?? BASE + 0x3000n, true);
    node.set(new TextEncoder().encode(module.name), 24);
  }
  const read = (address: VirtualAddress) => (address === MODULE ? node : undefined);
  const found = findVariables(bytes, virtualAddress(BASE), functions, read);
  return Object.fromEntries(found.map((symbol) => [symbol.name, `0x${symbol.address.toString(16)} ${symbol.type}`]));
}

describe("variables without CONFIG_KALLSYMS_ALL", () => {
  it("are those that the table of exports names, before and behind an exported function", () => {
    const exports: World["exports"] = [
      ["pv_lock_ops", BASE + 0x3100n],
      ["printk", PRINTK],
      ["kfree", KFREE],
      ["current_task", 0xb540n],
      ["boot_cpu_data", BASE + 0x3200n],
    ];
    expect(find({ exports })).toEqual({
      pv_lock_ops: "0xffffffff81003100 D",
      current_task: "0xb540 D",
      boot_cpu_data: "0xffffffff81003200 D",
    });
  });

  it.each([
    ["a value outside the kernel", ["x", 0x1234_0000_0000n]],
    ["a name that is none in C", ["1x-", BASE]],
    ["no name", ["", BASE]],
  ] as const)("end at %s", (_what, entry) => {
    expect(find({ exports: [["printk", PRINTK], [...entry], ["jiffies", BASE]] })).toEqual({});
  });

  it("are none when no exported function is known", () => {
    expect(find({ exports: [["jiffies", BASE]] })).toEqual({});
  });

  it("have the list of modules by its first node", () => {
    expect(find({ module: { state: 0, name: "floppy" } })).toEqual({ modules: "0xffffffff81003000 D" });
    expect(find({ module: { state: 9, name: "floppy" } })).toEqual({});
    expect(find({ module: { state: 0, name: "\u0001" } })).toEqual({});
    expect(find({ module: { state: 0, name: "floppy", prev: BASE } })).toEqual({});
  });

  it("have the banner by its text", () => {
    expect(find({ banner: "Linux version 3.0.1 (me)" })).toEqual({ linux_banner: "0xffffffff81002800 D" });
    expect(find({ banner: "Linux version %s" })).toEqual({});
  });
});
