// A SymbolTable over the symbols of an ELF file, at the addresses where its sections lie.
import type { VirtualAddress } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import { type ElfSymbols, SHN_ABS, SHN_COMMON, SHN_UNDEF, STB, STT } from "./elf-symbols.ts";
import { compareAddresses, SortedSymbols, signedAddress, unsignedAddress } from "./sorted-symbols.ts";
import type { KernelSymbol, SymbolTable } from "./types.ts";

export interface ElfSymbolTableOptions {
  /** KernelSymbol.module */
  readonly module?: string;
  /**
   * Where a section of a relocatable file (.ko) was put; its symbols' values are offsets into it. Symbols of sections
   * that lie nowhere are left out. Without it, values are addresses (vmlinux).
   */
  readonly sectionAddress?: (section: number) => VirtualAddress | undefined;
}

class ElfTable extends SortedSymbols {
  constructor(
    addresses: Float64Array,
    private readonly order: Uint32Array,
    private readonly symbols: ElfSymbols,
    private readonly sections: readonly ElfSection[],
    private readonly module: string | undefined,
  ) {
    super(addresses);
  }
  protected symbol(row: number): KernelSymbol {
    const name = this.symbols.name(this.order[row]);
    const symbol = { name, address: unsignedAddress(this.addresses[row]), type: this.typeOf(row) };
    return this.module === undefined ? symbol : { ...symbol, module: this.module };
  }
  protected typeOf(row: number): string {
    return symbolLetter(this.symbols, this.order[row], this.sections);
  }
  protected rows(name: string): readonly number[] {
    const wanted = new Set(this.symbols.rows(name));
    const out: number[] = [];
    if (wanted.size === 0) return out;
    for (let row = 0; row < this.order.length; row++) if (wanted.has(this.order[row])) out.push(row);
    return out;
  }
}

/** nm's letter for a symbol: by its section's kind; upper case when it is not local. */
export function symbolLetter(symbols: ElfSymbols, row: number, sections: readonly ElfSection[]): string {
  const number = symbols.sections[row];
  const binding = symbols.binding(row);
  if (binding === STB.weak) {
    const letter = symbols.type(row) === STT.object ? "v" : "w";
    return number === SHN_UNDEF ? letter : letter.toUpperCase();
  }
  if (number === SHN_UNDEF) return "U";
  if (number === SHN_COMMON) return "C";
  const section = sections[number];
  let letter = "n";
  if (number === SHN_ABS) letter = "a";
  else if (section === undefined) letter = "?";
  else if ((section.flags & 4) !== 0) letter = "t";
  else if (section.type === 8) letter = "b";
  else if ((section.flags & 1) !== 0) letter = "d";
  else if ((section.flags & 2) !== 0) letter = "r";
  return binding === STB.local ? letter : letter.toUpperCase();
}

/** All named symbols that the file defines, but for those that name sections and source files. */
export function elfSymbolTable(
  symbols: ElfSymbols,
  sections: readonly ElfSection[],
  options: ElfSymbolTableOptions = {},
): SymbolTable {
  const { sectionAddress, module } = options;
  const bases = sections.map((section) => {
    const address = sectionAddress?.(section.index);
    return address === undefined ? undefined : signedAddress(address);
  });
  const rows: number[] = [];
  const values = new Float64Array(symbols.count);
  for (let row = 0; row < symbols.count; row++) {
    const section = symbols.sections[row];
    const type = symbols.type(row);
    if (section === SHN_UNDEF || section === SHN_COMMON || type === STT.section || type === STT.file) continue;
    const base = sectionAddress === undefined || section === SHN_ABS ? 0 : bases[section];
    if (base === undefined || !symbols.isNamed(row)) continue;
    values[row] = base + symbols.values[row];
    rows.push(row);
  }
  rows.sort((a, b) => compareAddresses(values[a], values[b]) || a - b);
  const addresses = Float64Array.from(rows, (row) => values[row]);
  return new ElfTable(addresses, Uint32Array.from(rows), symbols, sections, module);
}
