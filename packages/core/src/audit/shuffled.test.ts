// Functions in sections of their own, and where kallsyms says that they are.
import { expect, it } from "vitest";
import type { ElfSection } from "../bytes/elf.ts";
import type { SymbolTable } from "../symbols/types.ts";
import { shuffledFunctions } from "./shuffled.ts";

const LINK = 0xffffffff81000000n;
const MOVE = 0x1e000000;

/** Sections of 64 bytes; the function lies 16 bytes behind the start of one, `by` bytes off for the first `moved`. */
function shuffled(count: number, moved: number, by: number, prefix = ".text.") {
  const sections = Array.from({ length: count }, (_, i) => {
    return { name: `${prefix}f${i}`, flags: 6, address: LINK + BigInt(64 * i), size: 64 } as ElfSection;
  });
  const at = (i: number): bigint => LINK + BigInt(64 * i + 16 + MOVE + (i < moved ? by : 0));
  const lookupAll = (name: string) => (/^f\d+$/.test(name) ? [{ name, address: at(Number(name.slice(1))) }] : []);
  return shuffledFunctions({ lookupAll } as unknown as SymbolTable, sections, MOVE);
}

it.each<[string, ReturnType<typeof shuffled>, ReturnType<typeof shuffled>]>([
  ["all elsewhere", shuffled(40, 40, 0x4000), { moved: 40, all: 40 }],
  ["some by chance where they were", shuffled(40, 30, -0x4000), { moved: 30, all: 40 }],
  ["built with -ffunction-sections, all in place", shuffled(40, 0, 0), undefined],
  ["padding in front of a function", shuffled(40, 40, 32), undefined],
  ["half of them: no shuffle", shuffled(40, 20, 0x4000), undefined],
  ["too few sections", shuffled(15, 15, 0x4000), undefined],
  ["sections that name no function", shuffled(40, 40, 0x4000, ".text.."), undefined],
])("%s", (_what, found, expected) => {
  expect(found).toEqual(expected);
});
