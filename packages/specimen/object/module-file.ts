// Writes a unit as a .ko file: ET_REL with RELA sections, relocations against section symbols for what is local and
// against named symbols for the rest, as the assembler and objtool leave them.
import { ByteWriter } from "../bytes.ts";
import { type ElfSectionInput, writeElf } from "../writers/elf-writer.ts";
import { placeOf, type Relocation, type Unit } from "./unit.ts";

const TYPES: Readonly<Record<Relocation["kind"], number>> = {
  abs64: 1,
  pc32: 2,
  plt32: 4,
  abs32: 10,
  abs32s: 11,
  pc64: 24,
};
const STT = { object: 1, func: 2, notype: 0, section: 3, file: 4 } as const;
const SYMTAB = 2;
const STRTAB = 3;
const RELA = 4;
const NOBITS = 8;

export interface ModuleSymbol {
  readonly name: string;
  /** section index in the file; 0 for undefined */
  readonly section: number;
  readonly value: number;
  readonly size: number;
  readonly info: number;
}

export interface ModuleFile {
  readonly bytes: Uint8Array;
  /** file section index of each of the unit's sections */
  readonly index: ReadonlyMap<string, number>;
  readonly symbols: readonly ModuleSymbol[];
  /** relocations whose symbol is a name of the unit or an undefined one, by section */
  readonly undefined: ReadonlySet<string>;
}

/** Which sections get relocations, and hence a .rela companion right behind them. */
function ordered(unit: Unit): { index: Map<string, number>; names: string[] } {
  const names: string[] = [];
  const index = new Map<string, number>();
  for (const s of unit.sections.values()) {
    names.push(s.name);
    index.set(s.name, names.length);
    if (s.relocations.length > 0) names.push(`.rela${s.name}`);
  }
  return { index, names };
}

function undefinedNames(unit: Unit): Set<string> {
  const out = new Set<string>();
  for (const s of unit.sections.values())
    for (const r of s.relocations) if (!placeOf(r.symbol) && !unit.symbols.has(r.symbol)) out.add(r.symbol);
  return out;
}

function symbolTable(unit: Unit, index: ReadonlyMap<string, number>, missing: ReadonlySet<string>): ModuleSymbol[] {
  const symbols: ModuleSymbol[] = [{ name: "", section: 0, value: 0, size: 0, info: 0 }];
  for (const [, section] of index) symbols.push({ name: "", section, value: 0, size: 0, info: STT.section });
  symbols.push({ name: `${unit.name}.c`, section: 0xfff1, value: 0, size: 0, info: STT.file });
  for (const global of [false, true])
    for (const s of unit.symbols.values()) {
      if (s.global !== global) continue;
      const info = (global ? 0x10 : 0) | STT[s.kind];
      symbols.push({ name: s.name, section: index.get(s.section)!, value: s.offset, size: s.size, info });
    }
  for (const name of missing) symbols.push({ name, section: 0, value: 0, size: 0, info: 0x10 });
  return symbols;
}

/** A branch to a local function of the same section is settled by the assembler: no relocation is left of it. */
function settleLocalBranches(unit: Unit): void {
  for (const s of unit.sections.values()) {
    const settled = s.relocations.filter((r) => {
      const to = unit.symbols.get(r.symbol);
      return /^(pc|plt)32$/.test(r.kind) && to !== undefined && !to.global && to.section === s.name;
    });
    for (const r of settled) s.bytes.patch32(r.offset, unit.symbols.get(r.symbol)!.offset + r.addend - r.offset);
    const left = s.relocations.filter((r) => !settled.includes(r));
    s.relocations.splice(0, s.relocations.length, ...left);
  }
}

/** Writes the file. The unit is finished by it: what the assembler settles is no relocation any more. */
export function writeModule(unit: Unit): ModuleFile {
  settleLocalBranches(unit);
  const { index } = ordered(unit);
  const missing = undefinedNames(unit);
  const symbols = symbolTable(unit, index, missing);
  const byName = new Map(symbols.map((s, i) => [s.name, i]));
  const bySection = new Map(symbols.flatMap((s, i) => (s.info === STT.section ? [[s.section, i] as const] : [])));
  const target = (r: Relocation): { symbol: number; addend: number } => {
    const local = placeOf(r.symbol);
    const own = unit.symbols.get(r.symbol);
    if (local) return { symbol: bySection.get(index.get(local.section)!)!, addend: r.addend + local.offset };
    if (own && !own.global) return { symbol: bySection.get(index.get(own.section)!)!, addend: r.addend + own.offset };
    return { symbol: byName.get(r.symbol)!, addend: r.addend };
  };
  const sections: ElfSectionInput[] = [];
  const relocated = [...unit.sections.values()];
  const total = relocated.length + relocated.filter((s) => s.relocations.length > 0).length;
  for (const s of relocated) {
    sections.push({
      name: s.name,
      type: s.type,
      flags: s.flags,
      bytes: s.type === NOBITS ? new Uint8Array() : s.bytes.take(),
      size: s.bytes.length,
      align: s.align,
      entrySize: s.entrySize,
    });
    if (s.relocations.length === 0) continue;
    const w = new ByteWriter();
    for (const r of s.relocations) {
      const t = target(r);
      w.u64(r.offset).u32(TYPES[r.kind]).u32(t.symbol).u64(BigInt(t.addend));
    }
    sections.push({
      name: `.rela${s.name}`,
      type: RELA,
      flags: 0x40,
      bytes: w.take(),
      link: total + 1,
      info: index.get(s.name)!,
      align: 8,
      entrySize: 24,
    });
  }
  const strings = new ByteWriter().u8(0);
  const table = new ByteWriter();
  for (const s of symbols) {
    table
      .u32(s.name === "" ? 0 : strings.length)
      .u8(s.info)
      .u8(0)
      .u16(s.section)
      .u64(s.value)
      .u64(s.size);
    if (s.name !== "") strings.cstring(s.name);
  }
  const firstGlobal = symbols.findIndex((s) => s.info >= 0x10);
  sections.push({
    name: ".symtab",
    type: SYMTAB,
    bytes: table.take(),
    link: total + 2,
    info: firstGlobal < 0 ? symbols.length : firstGlobal,
    align: 8,
    entrySize: 24,
  });
  sections.push({ name: ".strtab", type: STRTAB, bytes: strings.take() });
  return { bytes: writeElf({ type: 1, sections }), index, symbols, undefined: missing };
}
