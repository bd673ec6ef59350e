// The relocations that the linker left in a vmlinux (--emit-relocs, relocatable kernels up to 6.14; vmlinux.unstripped
// since): what arch/x86/tools/relocs.c makes the kernel's own table of, for a file without that table.
import { readSection } from "../bytes/elf.ts";
import { FormatError } from "../bytes/errors.ts";
import { type ElfSymbols, readElfSymbols, SHN_ABS, SHN_UNDEF } from "../symbols/elf-symbols.ts";
import { R_X86_64 } from "./rela.ts";
import type { ElfFile, KaslrRelocations } from "./types.ts";

const BASE = 0xffffffff80000000n;
/** BASE as a signed number. */
const SIGNED_BASE = -(2 ** 31);
const SHT_RELA = 4;
const SHF_ALLOC = 2;
const ENTRY = 24;
const PERCPU = ".data..percpu";

/**
 * The table that relocs.c would have written; undefined for a file without relocations of loaded sections.
 * @throws FormatError, TruncatedError (sections that contradict themselves)
 */
export function relocationsOfVmlinux(elf: ElfFile): KaslrRelocations | undefined {
  const tables = elf.sections.filter(
    ({ type, info }) => type === SHT_RELA && ((elf.sections[info]?.flags ?? 0) & SHF_ALLOC) !== 0,
  );
  // Where the build strips them, relocations of sections with names of their own stay: those alone tell nothing.
  if (!tables.some(({ info }) => elf.sections[info].name === ".text")) return undefined;
  const symbols = readElfSymbols(elf.source, elf.sections);
  if (symbols === undefined) return undefined;
  const percpu = elf.section(PERCPU);
  // Zero-based up to 6.14: what lies in it is loaded elsewhere, and references to it do not move.
  const zeroBased = percpu !== undefined && percpu.address < BASE ? percpu.index : undefined;
  const loaded = zeroBased === undefined ? 0 : loadAddress(symbols);
  const abs64: number[] = [];
  const abs32: number[] = [];
  const inverse32: number[] = [];
  for (const table of tables) {
    const where = `${elf.source.name}: ${table.name}`;
    if (table.entrySize !== ENTRY || table.size % ENTRY !== 0) {
      throw new FormatError(where, `${table.size} bytes of ${table.entrySize}-byte entries, not of ${ENTRY}`);
    }
    const bytes = readSection(elf.source, table);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const shift = table.info === zeroBased ? loaded - SIGNED_BASE : -SIGNED_BASE;
    for (let at = 0; at < bytes.length; at += ENTRY) {
      const row = view.getUint32(at + 12, true);
      if (row >= symbols.count) {
        throw new FormatError(`${where}+0x${(at + 12).toString(16)}`, `symbol ${row} of ${symbols.count}`);
      }
      const section = symbols.sections[row];
      if (section === SHN_UNDEF || (section === SHN_ABS && symbols.values[row] < SIGNED_BASE)) continue;
      if (section === SHN_ABS && symbols.values[row] >= 0) continue;
      const offset = view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true) + shift;
      if (offset < 0 || offset >= 2 ** 31) continue;
      const isPercpu = section === zeroBased && zeroBased !== undefined && isPercpuName(symbols.name(row));
      switch (view.getUint32(at + 8, true)) {
        case R_X86_64.PC32:
        case R_X86_64.PLT32:
          if (isPercpu) inverse32.push(offset);
          break;
        case R_X86_64.R32:
        case R_X86_64.R32S:
          if (!isPercpu) abs32.push(offset);
          break;
        case R_X86_64.R64:
          if (!isPercpu) abs64.push(offset);
          break;
      }
    }
  }
  const sorted = (offsets: number[]): Int32Array => Int32Array.from(offsets).sort();
  return { abs64: sorted(abs64), abs32: sorted(abs32), inverse32: sorted(inverse32), base: BASE };
}

/** Of the symbols of the per-CPU section, those that are no places of it (is_percpu_sym()). */
function isPercpuName(name: string): boolean {
  return name !== "__init_begin" && name !== "__per_cpu_load" && !name.startsWith("init_per_cpu_");
}

/** __per_cpu_load: where the zero-based section is loaded, as a signed number. */
function loadAddress(symbols: ElfSymbols): number {
  for (let row = 0; row < symbols.count; row++) {
    if (symbols.values[row] < 0 && symbols.name(row) === "__per_cpu_load") return symbols.values[row];
  }
  return 0;
}
