// Names to places in .debug_info, found unit by unit and only as far as somebody asks: a vmlinux has 300 MiB of it,
// while the structures of the kernel's core are in the first units. Only the top level of a unit is walked.
import { type AbbrevTable, readAbbrevs } from "./abbrev.ts";
import { readDie, readString, stringAt, stringOffset } from "./die.ts";
import { DW_FORM, DW_TAG, Reader, skipForm } from "./forms.ts";
import type { DwarfSections } from "./sections.ts";
import { readCode, readUnit, skipDie, type Unit } from "./unit.ts";

const SPACES = ["struct", "union", "enum", "plain"] as const;
type Space = (typeof SPACES)[number];

const DW_LANG_RUST = 0x1c;
/** Tables are shared by the units of one link, or one for each; a few are enough as units are visited in order. */
const CACHED_TABLES = 16;

export class TypeIndex {
  private readonly units: Unit[] = [];
  private nextUnit = 0;
  private scanned = 0;
  private readonly names: Record<Space, Map<string, number>> = {
    struct: new Map(),
    union: new Map(),
    enum: new Map(),
    plain: new Map(),
  };
  /** A bit for each space in which the string at that offset of .debug_str has been entered. */
  private readonly seen: Uint8Array;
  private readonly tables = new Map<string, AbbrevTable>();
  private readonly bases = new Map<Unit, number>();
  /** Enums without a name, by their places. */
  readonly anonymousEnums: number[] = [];

  constructor(private readonly sections: DwarfSections) {
    this.seen = new Uint8Array(sections.str.length);
  }

  /** Where the first definition of that name lies; scans on until it is found or all units are done. */
  find(space: Space, name: string): number | undefined {
    for (;;) {
      const found = this.names[space].get(name);
      if (found !== undefined || !this.scanNext()) return found;
    }
  }

  /** Names that were found so far: "struct module", "u64". */
  *allNames(): Iterable<string> {
    for (const space of SPACES) {
      for (const name of this.names[space].keys()) yield space === "plain" ? name : `${space} ${name}`;
    }
  }

  /** Scans one more unit; false when there is none. */
  scanNext(): boolean {
    const unit = this.units[this.scanned] ?? this.discover();
    if (unit === undefined) return false;
    this.scanned++;
    this.scan(unit);
    return true;
  }

  /** The unit that holds an offset of .debug_info. */
  unitAt(offset: number): Unit | undefined {
    while (this.nextUnit <= offset && this.discover() !== undefined);
    let low = 0;
    let high = this.units.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.units[middle].end <= offset) low = middle + 1;
      else high = middle;
    }
    const unit = this.units[low];
    return unit !== undefined && offset >= unit.start ? unit : undefined;
  }

  abbrevs(unit: Unit): AbbrevTable {
    const key = `${unit.abbrevOffset}/${unit.version}/${unit.offsetSize}/${unit.addressSize}`;
    let table = this.tables.get(key);
    if (table === undefined) {
      if (this.tables.size >= CACHED_TABLES) this.tables.clear();
      const { abbrev, name } = this.sections;
      table = readAbbrevs(abbrev, unit.abbrevOffset, unit, `${name}: .debug_abbrev`);
      this.tables.set(key, table);
    }
    return table;
  }

  /** DW_AT_str_offsets_base of a unit: where its part of .debug_str_offsets starts. */
  stringBase(unit: Unit): number {
    let base = this.bases.get(unit);
    if (base === undefined) {
      const { info } = this.sections;
      const r = new Reader(info.read(unit.start, unit.end - unit.start), info.name, unit.start);
      base = this.readTop(r, unit, this.abbrevs(unit)).base;
    }
    return base;
  }

  private discover(): Unit | undefined {
    const { info } = this.sections;
    if (this.nextUnit >= info.size) return undefined;
    const unit = readUnit(info, this.nextUnit);
    this.nextUnit = unit.end;
    this.units.push(unit);
    return unit;
  }

  private readTop(r: Reader, unit: Unit, table: AbbrevTable) {
    const top = readCode(r, table);
    if (top === undefined) return { base: 0, language: undefined, hasChildren: false };
    // names of the unit itself may need the base that is only about to be read: they are not asked for
    const names = { ...top, attributes: top.attributes.map((value, i) => (i % 3 === 0 && value === 3 ? 0 : value)) };
    const die = readDie(r, names, unit, this.sections, 0);
    const base = die.strOffsetsBase ?? 2 * unit.offsetSize;
    this.bases.set(unit, base);
    return { base, language: die.language, hasChildren: top.hasChildren };
  }

  private scan(unit: Unit): void {
    const { info } = this.sections;
    const r = new Reader(info.read(unit.start, unit.end - unit.start), info.name, unit.start);
    const table = this.abbrevs(unit);
    const top = this.readTop(r, unit, table);
    // Rust's own structures are laid out differently under names that C has too
    if (!top.hasChildren || top.language === DW_LANG_RUST) return;
    const size = unit.end - unit.start;
    while (r.at < size) {
      const place = unit.start + r.at;
      const abbrev = readCode(r, table);
      if (abbrev === undefined) break;
      const space = spaceOf(abbrev.tag);
      if (space >= 0 && !abbrev.isDeclaration) {
        const attributes = r.at;
        const form = abbrev.nameForm;
        if (abbrev.nameAt >= 0) r.at += abbrev.nameAt;
        else if (form !== 0) skipToName(r, abbrev.attributes, unit);
        if (form !== 0) this.enter(space, place, r, form, unit, top.base);
        else if (abbrev.tag === DW_TAG.enumerationType) this.anonymousEnums.push(place);
        r.at = attributes;
      }
      skipDie(r, abbrev, unit, table);
    }
  }

  private enter(space: number, place: number, r: Reader, form: number, unit: Unit, base: number): void {
    const offset = form === DW_FORM.string ? -1 : stringOffset(r, form, unit, this.sections, base);
    let name: string | undefined;
    if (offset >= 0) {
      if ((this.seen[offset] & (1 << space)) !== 0) return;
      this.seen[offset] |= 1 << space;
      name = stringAt(this.sections.str, offset, `${this.sections.name}: .debug_str`);
    } else name = readString(r, form, unit, this.sections, base);
    const names = this.names[SPACES[space]];
    if (name !== undefined && !names.has(name)) names.set(name, place);
  }
}

/** Index into SPACES, -1 for what is no named type. */
function spaceOf(tag: number): number {
  switch (tag) {
    case DW_TAG.structureType:
      return 0;
    case DW_TAG.unionType:
      return 1;
    case DW_TAG.enumerationType:
      return 2;
    case DW_TAG.typedef:
    case DW_TAG.baseType:
      return 3;
    default:
      return -1;
  }
}

function skipToName(r: Reader, attributes: readonly number[], unit: Unit): void {
  for (let i = 0; i < attributes.length && attributes[i] !== 3; i += 3) skipForm(r, attributes[i + 1], unit);
}
