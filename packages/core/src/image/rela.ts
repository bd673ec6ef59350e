// The relocations of one section of a .ko, as columns: linking a module walks tens of thousands of them, and the
// tables of patch sites are found through them.
import { derived } from "../bytes/derived.ts";
import { type ElfSection, readSection } from "../bytes/elf.ts";
import { FormatError } from "../bytes/errors.ts";
import type { ElfFile } from "./types.ts";

const SHT_RELA = 4;
const ENTRY = 24;
const SYMBOL_ENTRY = 24;

/** R_X86_64_* of the types that the kernel's module loader knows (arch/x86/kernel/module.c). */
export const R_X86_64 = { NONE: 0, R64: 1, PC32: 2, PLT32: 4, R32: 10, R32S: 11, PC64: 24 } as const;

/** Elf64_Rela[] of one section, in file order. */
export interface Relocations {
  readonly count: number;
  /** The section that is changed. */
  readonly target: ElfSection;
  /** Bytes from the start of `target`; each is smaller than the target's size. */
  readonly offsets: Uint32Array;
  /** R_X86_64_* */
  readonly types: Uint32Array;
  /** Numbers of symbols, each smaller than the symbol table's count. */
  readonly symbols: Uint32Array;
  /** r_addend, signed. */
  readonly addends: Float64Array;
}

/** The SHT_RELA section by which the loader changes `target`, not one of livepatch; undefined when there is none. */
export function relaFor(elf: ElfFile, target: ElfSection): ElfSection | undefined {
  return derived(elf, byTarget).get(target.index);
}

/** The first such section of each target: a module may have thousands of both. */
function byTarget(elf: ElfFile): Map<number, ElfSection> {
  const first = new Map<number, ElfSection>();
  for (const section of elf.sections) {
    if (section.type !== SHT_RELA || section.name.startsWith(".klp.") || first.has(section.info)) continue;
    first.set(section.info, section);
  }
  return first;
}

/**
 * Reads the relocations of a SHT_RELA section.
 * @throws FormatError when the section, an offset or a symbol number makes no sense; TruncatedError
 */
export function readRela(elf: ElfFile, section: ElfSection): Relocations {
  const where = `${elf.source.name}: ${section.name}`;
  if (section.type !== SHT_RELA) throw new FormatError(where, `section type ${section.type}, not RELA`);
  if (section.entrySize !== ENTRY || section.size % ENTRY !== 0) {
    throw new FormatError(where, `${section.size} bytes of ${section.entrySize}-byte entries, not of ${ENTRY}`);
  }
  const target = elf.sections[section.info];
  const table = elf.sections[section.link];
  if (target === undefined || table === undefined) {
    throw new FormatError(
      where,
      `target ${section.info} or symbols ${section.link} of ${elf.sections.length} sections`,
    );
  }
  const bytes = readSection(elf.source, section);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length / ENTRY;
  const symbolCount = table.size / SYMBOL_ENTRY;
  const offsets = new Uint32Array(count);
  const types = new Uint32Array(count);
  const symbols = new Uint32Array(count);
  const addends = new Float64Array(count);
  for (let i = 0, at = 0; i < count; i++, at += ENTRY) {
    const offset = view.getUint32(at, true);
    const symbol = view.getUint32(at + 12, true);
    if (offset >= target.size || view.getUint32(at + 4, true) !== 0) {
      throw new FormatError(`${where}+0x${at.toString(16)}`, `offset outside ${target.name} of ${target.size} bytes`);
    }
    if (symbol >= symbolCount) {
      throw new FormatError(`${where}+0x${(at + 12).toString(16)}`, `symbol ${symbol} of ${Math.floor(symbolCount)}`);
    }
    offsets[i] = offset;
    types[i] = view.getUint32(at + 8, true);
    symbols[i] = symbol;
    addends[i] = view.getInt32(at + 20, true) * 2 ** 32 + view.getUint32(at + 16, true);
  }
  return { count, target, offsets, types, symbols, addends };
}
