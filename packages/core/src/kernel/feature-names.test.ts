// A feature's name out of the kernel's own table, and what is told when there is none.
import { expect, test } from "vitest";
import { AddressError } from "../bytes/errors.ts";
import { featureText } from "./feature-names.ts";

const TABLE = 0xffffffff82000000n;
const NAMES = 0xffffffff82100000n;

function kernel(names: Readonly<Record<number, string | bigint>>, size?: number) {
  const texts = Object.entries(names);
  const memory = {
    read(address: bigint, length: number): Uint8Array {
      const out = new Uint8Array(length);
      if (address >= NAMES && address < NAMES + 0x10000n) {
        const text = texts[Number((address - NAMES) >> 8n)]?.[1];
        if (typeof text !== "string") throw new AddressError(address as never, "page", "gone");
        for (let i = 0; i < text.length && i < length; i++) out[i] = text.charCodeAt(i);
        return out;
      }
      const index = texts.findIndex(([feature]) => BigInt(feature) === (address - TABLE) / 8n);
      if (index < 0) return out;
      const value = texts[index][1];
      new DataView(out.buffer).setBigUint64(0, typeof value === "bigint" ? value : NAMES + BigInt(index << 8), true);
      return out;
    },
  };
  const symbols = {
    lookup: (name: string) => (name === "x86_cap_flags" ? { address: TABLE } : undefined),
    nearest: () => ({ offset: 0, size }),
  };
  return { memory, symbols } as never;
}

test.each([
  ["shown in /proc/cpuinfo", { 101: "constant_tsc" }, 101, "X86_FEATURE 3*32+5 (constant_tsc)"],
  ["not shown, known by its number", {}, 8 * 32 + 20, "X86_FEATURE 8*32+20 (pvunlock)"],
  ["not shown, not known", {}, 11 * 32 + 12, "X86_FEATURE 11*32+12"],
  ["a pointer out of the kernel", { 5: 0x1000n }, 5, "X86_FEATURE 0*32+5"],
  ["no name but bytes", { 6: "\u001b[2J" }, 6, "X86_FEATURE 0*32+6"],
  ["a text without end", { 7: "a".repeat(64) }, 7, "X86_FEATURE 0*32+7"],
  ["a page that is not there", { 8: NAMES + 0x5000n }, 8, "X86_FEATURE 0*32+8"],
  ["the kernel's own name goes first", { 276: "own" }, 8 * 32 + 20, "X86_FEATURE 8*32+20 (own)"],
])("%s", (_name, names, feature, text) => {
  expect(featureText(kernel(names as never), feature)).toBe(text);
});

test("past the end of the table lies something else", () => {
  expect(featureText(kernel({ 650: "pti" }, 640 * 8), 650)).toBe("X86_FEATURE 20*32+10");
});
