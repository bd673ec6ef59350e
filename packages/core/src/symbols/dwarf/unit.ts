// Units of .debug_info: headers of versions 2 to 5, and the walk over the DIEs of one unit.
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import type { Abbrev, AbbrevTable } from "./abbrev.ts";
import { DW_FORM, type Encoding, Reader, skipForm } from "./forms.ts";

export interface Unit extends Encoding {
  /** of the header, in .debug_info */
  readonly offset: number;
  /** of the first DIE */
  readonly start: number;
  /** of the next unit */
  readonly end: number;
  readonly abbrevOffset: number;
}

const DW_UT = { type: 2, skeleton: 4, splitCompile: 5, splitType: 6 } as const;
/** A header and a little more than the longest of them. */
const MAX_HEADER = 48;

/**
 * The header at `offset` of .debug_info.
 * @throws TruncatedError when the unit claims more bytes than there are, UnsupportedError for another version
 */
export function readUnit(info: ByteSource, offset: number): Unit {
  const r = new Reader(info.read(offset, Math.min(MAX_HEADER, info.size - offset)), info.name, offset);
  let length = r.unsigned(4);
  const offsetSize = length === 0xffffffff ? 8 : 4;
  if (offsetSize === 8) length = r.unsigned(8);
  const end = offset + r.at + length;
  if (end > info.size) throw new TruncatedError(r.place(0), end - offset, info.size - offset);
  const version = r.unsigned(2);
  if (version < 2 || version > 5) throw new UnsupportedError(r.place(0), `DWARF version ${version}`);
  let addressSize: number;
  let abbrevOffset: number;
  if (version >= 5) {
    const kind = r.unsigned(1);
    addressSize = r.unsigned(1);
    abbrevOffset = r.unsigned(offsetSize);
    if (kind === DW_UT.skeleton || kind === DW_UT.splitCompile) r.skip(8);
    else if (kind === DW_UT.type || kind === DW_UT.splitType) r.skip(8 + offsetSize);
  } else {
    abbrevOffset = r.unsigned(offsetSize);
    addressSize = r.unsigned(1);
  }
  return { offset, start: offset + r.at, end, version, offsetSize, addressSize, abbrevOffset };
}

/** The abbreviation of the DIE at the reader's place, which moves behind the code; undefined for a null entry. */
export function readCode(r: Reader, table: AbbrevTable): Abbrev | undefined {
  const at = r.at;
  const code = r.uleb();
  if (code === 0) return undefined;
  const abbrev = table[code];
  if (abbrev === undefined) throw new FormatError(r.place(at), `abbreviation ${code} is not in its table`);
  return abbrev;
}

/** From behind the code of a DIE to behind its attributes. */
export function skipAttributes(r: Reader, abbrev: Abbrev, unit: Encoding): void {
  if (abbrev.size >= 0) {
    r.skip(abbrev.size);
    return;
  }
  const { attributes } = abbrev;
  for (let i = 0; i < attributes.length; i += 3) skipForm(r, attributes[i + 1], unit);
}

/**
 * From behind the code of a DIE to behind its children, by DW_AT_sibling where there is one.
 */
export function skipDie(r: Reader, abbrev: Abbrev, unit: Unit, table: AbbrevTable): void {
  let depth = 0;
  let current: Abbrev | undefined = abbrev;
  do {
    if (current === undefined) depth--;
    else {
      const attributes = r.at;
      if (current.hasChildren && current.siblingAt >= 0) {
        const next = readLocalReference(r, attributes + current.siblingAt, current.siblingForm, unit);
        // it leads forward, or a crafted file would hold the walk for ever
        if (next <= attributes || next > unit.end - unit.start) {
          throw new TruncatedError(`${r.place(attributes)}: DW_AT_sibling`, next, unit.end - unit.start);
        }
        r.at = next;
      } else {
        skipAttributes(r, current, unit);
        if (current.hasChildren) depth++;
      }
    }
    if (depth > 0) current = readCode(r, table);
  } while (depth > 0);
}

/** A reference within the unit, as an offset from the unit's first DIE. */
function readLocalReference(r: Reader, at: number, form: number, unit: Unit): number {
  const back = r.at;
  r.at = at;
  let value: number;
  if (form === DW_FORM.ref4) value = r.unsigned(4);
  else if (form === DW_FORM.ref2) value = r.unsigned(2);
  else if (form === DW_FORM.ref1) value = r.unsigned(1);
  else if (form === DW_FORM.ref8) value = r.unsigned(8);
  else if (form === DW_FORM.refUdata) value = r.uleb();
  else throw new UnsupportedError(r.place(at), `DW_AT_sibling of form 0x${form.toString(16)}`);
  r.at = back;
  return value - (unit.start - unit.offset);
}
