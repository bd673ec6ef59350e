// Whether the section headers of a module's file contradict each other. An overwritten header loses sites without a word: a
// relocation section that names another target leaves its table empty, and what is not in a table is never looked at.
import { FormatError } from "../bytes/errors.ts";
import type { ElfFile } from "./types.ts";

const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const HEADER_SIZE = 64;
const RELA_ENTRY = 24;

/** @throws FormatError naming the header and its offset in the file */
export function checkSections({ source, header, sections }: ElfFile): void {
  const fail = (index: number, field: number, problem: string): never => {
    const at = header.sectionHeaderOffset + index * HEADER_SIZE + field;
    const name = sections[index]?.name;
    throw new FormatError(
      `${source.name}: section header ${index}${name ? ` (${name})` : ""} at 0x${at.toString(16)}`,
      problem,
    );
  };
  const first = sections[0];
  if (first !== undefined && (first.type !== 0 || first.flags !== 0 || first.address !== 0n || first.offset !== 0))
    fail(0, 0, "is not empty, as the first one is");
  const names = new Set(sections.map((section) => section.name));
  for (const section of sections) {
    const { index, type, align, offset, size, link, info, entrySize, name } = section;
    if (align !== 0 && !Number.isInteger(Math.log2(align))) fail(index, 48, `alignment ${align}`);
    if (type === 0) continue;
    if (type !== SHT_NOBITS && offset + size > source.size)
      fail(index, 24, `its ${size} bytes at 0x${offset.toString(16)} lie past the end of the file`);
    if (type === SHT_SYMTAB && (entrySize !== 24 || size % 24 !== 0 || sections[link]?.type !== SHT_STRTAB))
      fail(index, 40, "is no symbol table with its strings");
    if (type !== SHT_RELA || name.startsWith(".klp.")) continue;
    const target = sections[info];
    if (entrySize !== RELA_ENTRY || size % RELA_ENTRY !== 0)
      fail(index, 56, `${size} bytes of ${entrySize}-byte entries`);
    if (sections[link]?.type !== SHT_SYMTAB)
      fail(index, 40, `its symbols are section ${link}, which is no symbol table`);
    // LLVM's linker renames a section (.kcfi_traps to __kcfi_traps) and leaves its relocations' name: nobody's name then.
    const renamed = target !== undefined && !(name.startsWith(".rela") && names.has(name.slice(5)));
    if (target === undefined || (`.rela${target.name}` !== name && !renamed))
      fail(
        index,
        44,
        `it changes section ${info}${target === undefined ? "" : ` (${target.name})`}, not the one of its name`,
      );
  }
  const stored = sections.filter(({ type, size }) => type !== 0 && type !== SHT_NOBITS && size > 0);
  stored.sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < stored.length; i++) {
    const before = stored[i - 1];
    if (stored[i].offset < before.offset + before.size)
      fail(stored[i].index, 24, `shares bytes of the file with section ${before.index} (${before.name})`);
  }
}
