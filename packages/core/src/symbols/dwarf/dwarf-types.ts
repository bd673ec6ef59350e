// Layouts of C types out of DWARF: for kernels without BTF (before 5.2, or built without it), from a vmlinux or a
// module with debug information.
import { FormatError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import { type NameSpace, type RawMember, TypeGraph, type TypeNode, type TypeRef } from "../type-graph.ts";
import type { AbbrevTable } from "./abbrev.ts";
import { type Die, readDie } from "./die.ts";
import { DW_TAG, Reader } from "./forms.ts";
import { type DwarfSections, readDwarfSections } from "./sections.ts";
import { TypeIndex } from "./type-index.ts";
import { readCode, skipDie, type Unit } from "./unit.ts";

/** Units whose bytes are kept while their types are asked for: a structure and its members are in one unit. */
const CACHED_UNITS = 4;

interface OpenUnit {
  readonly unit: Unit;
  readonly reader: Reader;
  readonly table: AbbrevTable;
  readonly stringBase: number;
}

export class DwarfTypes extends TypeGraph {
  private readonly index: TypeIndex;
  private readonly open = new Map<number, OpenUnit>();
  /** Dimensions of arrays beyond the last have no DIE of their own: their refs are negative. */
  private readonly dimensions: TypeNode[] = [];

  constructor(
    private readonly sections: DwarfSections,
    readonly origin: string,
  ) {
    super();
    this.index = new TypeIndex(sections);
  }

  protected find(space: NameSpace, name: string): TypeRef | undefined {
    return this.index.find(space, name);
  }

  *names(): Iterable<string> {
    while (this.index.scanNext());
    yield* this.index.allNames();
  }

  protected *anonymousEnums(): Iterable<TypeRef> {
    const { anonymousEnums } = this.index;
    for (let i = 0; ; ) {
      while (i < anonymousEnums.length) yield anonymousEnums[i++];
      if (!this.index.scanNext()) return;
    }
  }

  protected decode(ref: TypeRef): TypeNode {
    if (ref < 0) return this.dimensions[-ref - 1];
    const at = this.openAt(ref);
    const die = this.readAt(at, ref);
    if (die === undefined) throw this.error(ref, "a reference to a null entry");
    const name = die.name ?? "";
    const target = die.type ?? 0;
    switch (die.tag) {
      case DW_TAG.baseType:
        return { kind: "base", name, size: die.byteSize ?? 0 };
      case DW_TAG.pointerType:
        return { kind: "pointer", target };
      case DW_TAG.structureType:
      case DW_TAG.unionType: {
        const kind = die.tag === DW_TAG.structureType ? "struct" : "union";
        if (die.declaration) return { kind: "forward", tag: kind, name };
        return { kind, name, size: die.byteSize ?? 0, members: this.membersOf(die, at) };
      }
      case DW_TAG.enumerationType:
        if (die.declaration) return { kind: "forward", tag: "enum", name };
        return { kind: "enum", name, size: die.byteSize ?? 4, values: this.valuesOf(die, at) };
      case DW_TAG.typedef:
        return { kind: "alias", name, target };
      case DW_TAG.constType:
      case DW_TAG.volatileType:
      case DW_TAG.restrictType:
      case DW_TAG.atomicType:
        return { kind: "alias", target };
      case DW_TAG.arrayType:
        return this.arrayOf(die, at);
      case DW_TAG.subroutineType:
        return { kind: "function", result: target };
      default:
        return { kind: "void" };
    }
  }

  private membersOf(die: Die, at: OpenUnit): RawMember[] {
    const members: RawMember[] = [];
    for (const child of this.children(die, at)) {
      if (child.tag !== DW_TAG.member || child.type === undefined) continue;
      const { bitSize, type, name = "" } = child;
      const start = (child.location ?? 0) * 8;
      if (bitSize === undefined) members.push({ name, type, bitOffset: start });
      else members.push({ name, type, bitSize, bitOffset: start + this.bitsInto(child, bitSize) });
    }
    return members;
  }

  /** Where a bit field starts behind its member location; versions 2 and 3 count from the storage's top. */
  private bitsInto(member: Die, bitSize: number): number {
    if (member.dataBitOffset !== undefined) return member.dataBitOffset;
    if (member.bitOffset === undefined) return 0;
    const storage = member.byteSize ?? this.storageOf(member.type);
    return storage * 8 - member.bitOffset - bitSize;
  }

  /** Size of an integer type behind its typedefs, without decoding what may lead back here. */
  private storageOf(type: number | undefined): number {
    let ref = type;
    for (let i = 0; i < 16 && ref !== undefined; i++) {
      const die = this.readAt(this.openAt(ref), ref);
      if (die?.byteSize !== undefined) return die.byteSize;
      ref = die?.type;
    }
    return 4;
  }

  private valuesOf(die: Die, at: OpenUnit): Map<string, bigint> {
    const values = new Map<string, bigint>();
    for (const child of this.children(die, at)) {
      if (child.tag === DW_TAG.enumerator && child.name !== undefined && child.constValue !== undefined) {
        values.set(child.name, child.constValue);
      }
    }
    return values;
  }

  private arrayOf(die: Die, at: OpenUnit): TypeNode {
    const counts: number[] = [];
    for (const child of this.children(die, at)) if (child.tag === DW_TAG.subrangeType) counts.push(child.count ?? 0);
    let element = die.type ?? 0;
    for (let i = counts.length - 1; i > 0; i--) {
      this.dimensions.push({ kind: "array", element, count: counts[i] });
      element = -this.dimensions.length;
    }
    return { kind: "array", element, count: counts[0] ?? 0 };
  }

  private *children(die: Die, at: OpenUnit): Generator<Die> {
    if (!die.hasChildren) return;
    const { reader, table, unit, stringBase } = at;
    let next = reader.at;
    while (next < unit.end - unit.start) {
      reader.at = next;
      const abbrev = readCode(reader, table);
      if (abbrev === undefined) return;
      const attributes = reader.at;
      const child = readDie(reader, abbrev, unit, this.sections, stringBase);
      reader.at = attributes;
      skipDie(reader, abbrev, unit, table);
      next = reader.at; // whoever takes the child may read elsewhere in the unit meanwhile
      yield child;
    }
  }

  private readAt(at: OpenUnit, ref: number): Die | undefined {
    at.reader.at = ref - at.unit.start;
    const abbrev = readCode(at.reader, at.table);
    return abbrev && readDie(at.reader, abbrev, at.unit, this.sections, at.stringBase);
  }

  private openAt(ref: number): OpenUnit {
    const unit = this.index.unitAt(ref);
    if (unit === undefined) throw this.error(ref, "a reference into no unit");
    let open = this.open.get(unit.offset);
    if (open === undefined) {
      if (this.open.size >= CACHED_UNITS) this.open.clear();
      const { info } = this.sections;
      const stringBase = this.index.stringBase(unit);
      const bytes = info.read(unit.start, unit.end - unit.start).slice();
      open = { unit, reader: new Reader(bytes, info.name, unit.start), table: this.index.abbrevs(unit), stringBase };
      this.open.set(unit.offset, open);
    }
    return open;
  }

  private error(ref: number, problem: string): FormatError {
    return new FormatError(`${this.sections.info.name}+0x${ref.toString(16)}`, problem);
  }
}

/**
 * The types that a file's DWARF describes; undefined when it has no .debug_info. Reads only what questions need.
 * @param source a vmlinux, a .ko or a separate debug file
 * @throws FormatError, TruncatedError, UnsupportedError, here and when questions reach what is broken
 */
export function openDwarf(source: ByteSource, origin = `DWARF of ${source.name}`): DwarfTypes | undefined {
  const sections = readDwarfSections(source);
  return sections === undefined ? undefined : new DwarfTypes(sections, origin);
}
