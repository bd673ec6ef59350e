// Kernels that shuffle their functions at boot (function-granular KASLR, patches of 2020 to 2022, in use by a few
// distributors): each function is a section of its own, and kallsyms tells where it went. What was built lies nowhere near
// then, and so do the tables that were linked to it.
import { toKernelOffset } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import type { SymbolTable } from "../symbols/types.ts";

const SHF_EXECINSTR = 4;
/** ".text.do_exit", not ".text..refcount" or ".text.unlikely" (no such function). */
const OF_FUNCTION = /^\.text\.([\w.$]+)$/;
/** Fewer functions in sections of their own tell nothing. */
const FEWEST = 16;

/**
 * How many of the functions that have a section of their own lie outside of it in the dump; undefined for a kernel that
 * leaves them in place.
 * @param distance bytes by which KASLR moved the kernel as a whole
 */
export function shuffledFunctions(
  symbols: SymbolTable,
  sections: readonly ElfSection[],
  distance: number,
): { readonly moved: number; readonly all: number } | undefined {
  let all = 0;
  let moved = 0;
  for (const { name, flags, address, size } of sections) {
    const link = (flags & SHF_EXECINSTR) === 0 ? undefined : toKernelOffset(address);
    const symbol = link === undefined ? undefined : OF_FUNCTION.exec(name)?.[1];
    if (link === undefined || symbol === undefined) continue;
    const places = symbols.lookupAll(symbol);
    if (places.length === 0) continue;
    all++;
    const start = link + distance;
    // The symbol lies a little behind the section's start where padding for call thunks or kCFI comes first.
    const there = places.some((place) => {
      const at = toKernelOffset(place.address);
      return at !== undefined && at >= start && at < start + size;
    });
    if (!there) moved++;
  }
  return moved >= FEWEST && moved > all / 2 ? { moved, all } : undefined;
}
