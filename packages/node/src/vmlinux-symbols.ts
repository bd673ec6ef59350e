// The symbol table of a vmlinux that a flag names, for kernels whose kallsyms has no variables.
import { statSync } from "node:fs";
import { isElf } from "../../core/src/bytes/elf.ts";
import { openElf } from "../../core/src/image/elf-file.ts";
import type { GivenSymbols } from "../../core/src/kernel/core-symbols.ts";
import { elfSymbolTable } from "../../core/src/symbols/elf-symbol-table.ts";
import { readElfSymbols } from "../../core/src/symbols/elf-symbols.ts";
import { FileSource } from "./file-source.ts";

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true;
const ET_REL = 1;

/**
 * The symbols of the first of these files that is a linked ELF file and was not stripped of them.
 * @throws FormatError, TruncatedError for a broken one
 */
export function symbolsOf(paths: readonly (string | undefined)[]): GivenSymbols | undefined {
  for (const path of paths) {
    if (path === undefined || !isFile(path)) continue;
    const source = new FileSource(path);
    if (!isElf(source)) {
      source.close();
      continue;
    }
    const elf = openElf(source);
    const symbols = elf.header.type === ET_REL ? undefined : readElfSymbols(source, elf.sections);
    if (symbols !== undefined) return { table: elfSymbolTable(symbols, elf.sections), origin: path };
  }
  return undefined;
}
