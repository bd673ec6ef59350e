// A module's symbols as the kernel keeps them for kallsyms: an Elf64_Sym array whose values the loader has already
// turned into addresses (kernel/module/kallsyms.c).
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import { arraySymbolTable } from "../../symbols/array-symbols.ts";
import type { KernelSymbol, SymbolTable } from "../../symbols/types.ts";
import { getU16, getU32, getU64 } from "../layouts/little-endian.ts";
import type { KernelModule } from "./modules.ts";

const SYM_SIZE = 24;
/** A livepatch module keeps its symbols of other objects, resolved (include/uapi/linux/elf.h, 4.7). */
const SHN_LIVEPATCH = 0xff20;
const MAX_SYMBOLS = 1 << 20;
const MAX_STRINGS = 64 << 20;
const latin1 = new TextDecoder("latin1");

/** The module's own symbols; empty, with a problem told, when they cannot be read. */
export function moduleSymbols(memory: VirtualMemory, module: KernelModule, problems: string[]): SymbolTable {
  const out: KernelSymbol[] = [];
  try {
    const { symtab } = module;
    if (symtab !== undefined && symtab.count > 0) {
      if (symtab.count > MAX_SYMBOLS) throw new RangeError(`${symtab.count} symbols`);
      const bytes = memory.read(symtab.symbols, symtab.count * SYM_SIZE);
      const types = symtab.types === undefined ? undefined : memory.read(symtab.types, symtab.count);
      let stringsLength = 0;
      for (let i = 0; i < symtab.count; i++) stringsLength = Math.max(stringsLength, getU32(bytes, i * SYM_SIZE));
      if (stringsLength > MAX_STRINGS) throw new RangeError(`a string table of ${stringsLength} bytes`);
      const strings = memory.read(symtab.strings, stringsLength + 1);
      // The last name ends somewhere behind its first byte; its tail is read by itself.
      for (let i = 1; i < symtab.count; i++) {
        const at = i * SYM_SIZE;
        const section = getU16(bytes, at + 6);
        if (section === 0 || section === SHN_LIVEPATCH) continue; // not its own
        const nameAt = getU32(bytes, at);
        const end = strings.indexOf(0, nameAt);
        const name =
          end >= 0
            ? latin1.decode(strings.subarray(nameAt, end))
            : memory.cstring(offsetBy(symtab.strings, nameAt), 512);
        if (name === "") continue;
        const type = types === undefined ? letter(bytes[at + 4]) : String.fromCharCode(types[i]);
        out.push({ name, address: virtualAddress(getU64(bytes, at + 8)), type, module: module.name });
      }
    }
  } catch (error) {
    if (!(error instanceof PalimpsestError) && !(error instanceof RangeError)) throw error;
    problems.push(`module ${module.name}: its symbols: ${error.message}`);
  }
  return arraySymbolTable(out);
}

function offsetBy(address: VirtualAddress, bytes: number): VirtualAddress {
  return virtualAddress(address + BigInt(bytes));
}

/** Before 5.2 the loader stored nm's letter in st_info; a value that is none is ELF's own binding and type. */
function letter(info: number): string {
  if (info >= 0x3f) return String.fromCharCode(info);
  const global = info >> 4 !== 0;
  const code = (info & 15) === 2 ? "t" : "d";
  return global ? code.toUpperCase() : code;
}
