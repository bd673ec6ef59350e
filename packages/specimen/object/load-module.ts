// Lays a module out in memory and relocates it, by the rules of kernel/module.c (kernel/module/main.c since 5.19):
// executable sections first, then read-only data, then what is read-only after init, then writable data; init apart.
import { alignUp, ByteWriter, latin1 } from "../bytes.ts";
import type { ModuleFile, ModuleSymbol } from "./module-file.ts";
import { placeOf, symbolPlus, type Unit } from "./unit.ts";

const PAGE = 4096;
const WRITE = 1;
const ALLOC = 2;
const EXEC = 4;

export interface LayoutSizes {
  readonly text: number;
  readonly readOnly: number;
  readonly readOnlyAfterInit: number;
  readonly size: number;
}

export interface ModuleLayout {
  /** offset of each core section from the module's base */
  readonly core: ReadonlyMap<string, number>;
  /** offset of each init section from the init area's base */
  readonly init: ReadonlyMap<string, number>;
  readonly coreSizes: LayoutSizes;
  readonly initSizes: LayoutSizes;
  /** the cut-down symbol table at the end of the core's data: offsets from the base */
  readonly kallsyms: SymbolPlaces;
  /** the full one at the end of the init area, which the kernel uses until the module has come up */
  readonly initKallsyms: SymbolPlaces;
}

export interface SymbolPlaces {
  readonly symtab: number;
  readonly strtab: number;
  readonly typetab: number;
  readonly symbols: readonly ModuleSymbol[];
}

/** What differs between releases. */
export interface LoaderRules {
  /** names of sections that become read-only after init */
  readonly afterInit: RegExp;
  /** kallsyms' type letters: put into st_info (before 5.2), or a table of their own */
  readonly typesInInfo: boolean;
}

const isInit = (name: string) => name.startsWith(".init");
/** Sections that the loader reads but does not lay out (.modinfo, __versions), and per-CPU data, which goes elsewhere. */
const skipped = (name: string) => /^(\.modinfo|__versions|\.data\.\.percpu)$/.test(name);

function place(unit: Unit, init: boolean, rules: LoaderRules): { offsets: Map<string, number>; sizes: LayoutSizes } {
  const offsets = new Map<string, number>();
  const groups: ((name: string, flags: number) => boolean)[] = [
    (_, f) => (f & EXEC) !== 0,
    (_, f) => (f & WRITE) === 0,
    (name) => rules.afterInit.test(name),
    () => true,
  ];
  const ends: number[] = [];
  let size = 0;
  for (const [g, wanted] of groups.entries()) {
    for (const s of unit.sections.values()) {
      if (!(s.flags & ALLOC) || isInit(s.name) !== init || skipped(s.name)) continue;
      if (offsets.has(s.name) || !wanted(s.name, s.flags)) continue;
      offsets.set(s.name, alignUp(size, s.align));
      size = alignUp(size, s.align) + s.bytes.length;
    }
    if (g < 3) size = alignUp(size, PAGE);
    ends.push(size);
  }
  return { offsets, sizes: { text: ends[0], readOnly: ends[1], readOnlyAfterInit: ends[2], size } };
}

function symbolPlaces(symbols: readonly ModuleSymbol[], end: number): SymbolPlaces & { readonly size: number } {
  const symtab = alignUp(end, 8);
  const strtab = symtab + symbols.length * 24;
  const typetab = strtab + symbols.reduce((n, s) => n + s.name.length + 1, 0);
  return { symtab, strtab, typetab, symbols, size: alignUp(typetab + symbols.length, PAGE) };
}

/** Where everything of a module goes. */
export function layOutModule(unit: Unit, file: ModuleFile, rules: LoaderRules): ModuleLayout {
  const core = place(unit, false, rules);
  const init = place(unit, true, rules);
  const names = new Map([...file.index].map(([name, i]) => [i, name]));
  const kept = file.symbols.filter((s, i) => {
    const home = names.get(s.section) ?? "";
    return i === 0 || (s.name !== "" && core.offsets.has(home)) || home === ".data..percpu";
  });
  const kallsyms = symbolPlaces(kept, core.sizes.size);
  const initKallsyms = symbolPlaces(file.symbols, init.sizes.size);
  return {
    core: core.offsets,
    init: init.offsets,
    coreSizes: { ...core.sizes, size: kallsyms.size },
    initSizes: { ...init.sizes, size: initKallsyms.size },
    kallsyms,
    initKallsyms,
  };
}

export interface LoadedModule {
  readonly unit: Unit;
  readonly layout: ModuleLayout;
  readonly base: bigint;
  readonly initBase: bigint;
  readonly percpu: bigint;
  /** the whole core area, relocated, before any patching */
  readonly core: Uint8Array;
  /** the init area likewise */
  readonly init: Uint8Array;
  /** runtime address of a name or place of the module, else of the core */
  address(symbol: string): bigint;
  section(name: string): bigint | undefined;
}

export interface LoadAt {
  readonly base: bigint;
  readonly initBase: bigint;
  /** per-CPU address of .data..percpu */
  readonly percpu: bigint;
  /** address of a symbol that the module does not define */
  readonly resolve: (symbol: string) => bigint;
}

export function loadModule(
  unit: Unit,
  file: ModuleFile,
  layout: ModuleLayout,
  at: LoadAt,
  rules: LoaderRules,
): LoadedModule {
  const section = (name: string): bigint | undefined => {
    const core = layout.core.get(name);
    if (core !== undefined) return at.base + BigInt(core);
    const init = layout.init.get(name);
    if (init !== undefined) return at.initBase + BigInt(init);
    return name === ".data..percpu" && unit.sections.has(name) ? at.percpu : undefined;
  };
  const address = (text: string): bigint => {
    const spot = placeOf(text);
    if (spot) return (section(spot.section) ?? 0n) + BigInt(spot.offset);
    const own = unit.symbols.get(text);
    if (own) return (section(own.section) ?? 0n) + BigInt(own.offset);
    const plus = symbolPlus(text);
    if (plus.symbol !== text && unit.symbols.has(plus.symbol)) return address(plus.symbol) + BigInt(plus.addend);
    return at.resolve(text);
  };
  const relocated = (base: bigint, size: number, places: ReadonlyMap<string, number>): Uint8Array => {
    const area = new Uint8Array(size);
    const view = new DataView(area.buffer);
    for (const [name, offset] of places) {
      const s = unit.sections.get(name)!;
      area.set(s.bytes.take(), offset);
      for (const r of s.relocations) {
        const field = offset + r.offset;
        const value = address(r.symbol) + BigInt(r.addend);
        const relative = value - (base + BigInt(field));
        if (r.kind === "abs64") view.setBigUint64(field, BigInt.asUintN(64, value), true);
        else if (r.kind === "pc64") view.setBigUint64(field, BigInt.asUintN(64, relative), true);
        else view.setUint32(field, Number(BigInt.asUintN(32, r.kind.startsWith("abs") ? value : relative)), true);
      }
    }
    return area;
  };
  const core = relocated(at.base, layout.coreSizes.size, layout.core);
  const init = relocated(at.initBase, layout.initSizes.size, layout.init);
  const names = new Map([...file.index].map(([name, i]) => [i, name]));
  for (const [area, places] of [
    [core, layout.kallsyms],
    [init, layout.initKallsyms],
  ] as const)
    writeSymbols(area, unit, places, names, section, rules);
  return { unit, layout, base: at.base, initBase: at.initBase, percpu: at.percpu, core, init, address, section };
}

/** elf_type() of kernel/module/kallsyms.c: the letter of a symbol. */
function letter(unit: Unit, section: string): string {
  const s = unit.sections.get(section);
  if (!s) return "U";
  if (s.flags & EXEC) return "t";
  if (s.flags & ALLOC && s.type !== 8) return s.flags & WRITE ? "d" : "r";
  return "b";
}

function writeSymbols(
  area: Uint8Array,
  unit: Unit,
  places: SymbolPlaces,
  names: ReadonlyMap<number, string>,
  section: (name: string) => bigint | undefined,
  rules: LoaderRules,
): void {
  const symtab = new ByteWriter();
  const strtab = new ByteWriter().u8(0);
  let types = "";
  for (const s of places.symbols) {
    const home = names.get(s.section) ?? "";
    const type = s.section === 0 ? "U" : letter(unit, home);
    // sections' symbols have no name of their own
    symtab
      .u32(s.name === "" ? 0 : strtab.length)
      .u8(rules.typesInInfo ? type.charCodeAt(0) : s.info)
      .u8(0)
      .u16(s.section);
    symtab.u64(s.section === 0 ? 0n : (section(home) ?? 0n) + BigInt(s.value)).u64(s.size);
    if (s.name !== "") strtab.cstring(s.name);
    types += type;
  }
  area.set(symtab.take(), places.symtab);
  area.set(strtab.take(), places.strtab);
  area.set(latin1(types), places.typetab);
}
