// An ELF file with its sections by name: what vmlinux and every .ko is handed around as.
import { readElfHeader, readSection, readSections } from "../bytes/elf.ts";
import { UnsupportedError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { ElfFile } from "./types.ts";

/**
 * Reads headers and section headers; contents are read on demand.
 * @throws FormatError, TruncatedError, UnsupportedError (not 64-bit little-endian x86-64)
 */
export function openElf(source: ByteSource): ElfFile {
  const header = readElfHeader(source);
  const sections = readSections(source, header);
  const byName = new Map<string, (typeof sections)[number]>();
  for (const section of sections) if (!byName.has(section.name)) byName.set(section.name, section);
  return {
    source,
    header,
    sections,
    section: (name) => byName.get(name),
    bytes: (section) => readSection(source, section),
  };
}

const SHT_NOBITS = 8;

/** @throws UnsupportedError for the files of debug packages that keep section headers but no code */
export function checkHasCode(elf: ElfFile): void {
  if (elf.section(".text")?.type === SHT_NOBITS) {
    throw new UnsupportedError(elf.source.name, "a file with debug information but without code");
  }
}
