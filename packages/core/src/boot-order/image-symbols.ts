// Names for the addresses of an image that nobody has booted: from its ELF symbol table, or from the kallsyms tables
// that every kernel carries in its read-only data for its own use.
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { MissingError } from "../bytes/errors.ts";
import type { KernelImage } from "../image/types.ts";
import { elfSymbolTable } from "../symbols/elf-symbol-table.ts";
import { readElfSymbols } from "../symbols/elf-symbols.ts";
import { findKallsyms } from "../symbols/find-kallsyms.ts";
import { readKallsyms } from "../symbols/kallsyms.ts";
import { bytesReader } from "../symbols/reader.ts";
import type { SymbolTable } from "../symbols/types.ts";

export interface ImageSymbols {
  readonly table: SymbolTable;
  /** "ELF symbol table", "kallsyms in .rodata" */
  readonly origin: string;
  /** Where the addresses of all symbols lie as pointers (up to 4.5), which no code calls through. */
  readonly addressTable?: VirtualAddress;
}

/** Sections in which kallsyms was ever linked. */
const KALLSYMS_HOMES = [".rodata", ".init.rodata", ".data"];

/**
 * The image's symbols at link addresses.
 * @throws MissingError when it has none (stripped, without CONFIG_KALLSYMS); FormatError, TruncatedError for a broken table
 */
export function imageSymbols(image: KernelImage): ImageSymbols {
  const { elf } = image;
  const own = readElfSymbols(elf.source, elf.sections);
  if (own !== undefined) {
    const table = elfSymbolTable(own, elf.sections);
    return { table, origin: "ELF symbol table", addressTable: table.lookup("kallsyms_addresses")?.address };
  }
  for (const name of KALLSYMS_HOMES) {
    const section = elf.section(name);
    if (section === undefined || section.size === 0) continue;
    const bytes = elf.bytes(section).slice();
    const base = virtualAddress(section.address);
    const at = findKallsyms(bytes, base);
    if (at === undefined) continue;
    const table = readKallsyms(bytesReader(bytes, base), at);
    return { table, origin: `kallsyms in ${name}`, addressTable: at.addresses };
  }
  throw new MissingError(
    `a symbol table in ${image.path}`,
    "it needs CONFIG_KALLSYMS or the ELF symbols of the unstripped vmlinux",
  );
}
