// One DIE (debugging information entry) with the attributes that matter for the layout of types.
import { FormatError } from "../../bytes/errors.ts";
import type { Abbrev } from "./abbrev.ts";
import { DW_AT, DW_FORM, Reader, skipForm } from "./forms.ts";
import type { DwarfSections } from "./sections.ts";
import type { Unit } from "./unit.ts";

export interface Die {
  readonly tag: number;
  readonly hasChildren: boolean;
  name?: string;
  /** offset in .debug_info; undefined for void and for types in another file */
  type?: number;
  byteSize?: number;
  bitSize?: number;
  /** versions 2 and 3: from the most significant bit of the storage */
  bitOffset?: number;
  /** version 4 on: from the start of the structure */
  dataBitOffset?: number;
  /** bytes from the start of the structure */
  location?: number;
  /** elements of an array's dimension; undefined when open */
  count?: number;
  constValue?: bigint;
  declaration?: boolean;
  language?: number;
  strOffsetsBase?: number;
}

const DW_OP_PLUS_UCONST = 0x23;
const DW_OP_CONSTU = 0x10;
const latin1 = new TextDecoder("latin1");

/** Reads the attributes of a DIE, from behind its code; the reader ends behind them. */
export function readDie(r: Reader, abbrev: Abbrev, unit: Unit, sections: DwarfSections, strOffsetsBase: number): Die {
  const die: Die = { tag: abbrev.tag, hasChildren: abbrev.hasChildren };
  const { attributes } = abbrev;
  for (let i = 0; i < attributes.length; i += 3) {
    let form = attributes[i + 1];
    const implicit = attributes[i + 2];
    if (form === DW_FORM.indirect) form = r.uleb();
    const at = r.at;
    switch (attributes[i]) {
      case DW_AT.name:
        die.name = readString(r, form, unit, sections, strOffsetsBase);
        break;
      case DW_AT.type:
        die.type = readReference(r, form, unit);
        break;
      case DW_AT.byteSize:
        die.byteSize = readNumber(r, form, implicit);
        break;
      case DW_AT.bitSize:
        die.bitSize = readNumber(r, form, implicit);
        break;
      case DW_AT.bitOffset:
        die.bitOffset = readNumber(r, form, implicit);
        break;
      case DW_AT.dataBitOffset:
        die.dataBitOffset = readNumber(r, form, implicit);
        break;
      case DW_AT.dataMemberLocation:
        die.location = readLocation(r, form, implicit);
        break;
      case DW_AT.upperBound: {
        // an empty array's bound is -1 in any width; the widest real array is far smaller
        const bound = readNumber(r, form, implicit);
        if (bound !== undefined && bound >= 0 && bound < 0xffffffff) die.count ??= bound + 1;
        break;
      }
      case DW_AT.count:
        die.count = readNumber(r, form, implicit);
        break;
      case DW_AT.constValue:
        die.constValue = readInteger(r, form, implicit);
        break;
      case DW_AT.language:
        die.language = readNumber(r, form, implicit);
        break;
      case DW_AT.strOffsetsBase:
        die.strOffsetsBase = readNumber(r, form, implicit);
        break;
      case DW_AT.declaration:
        die.declaration = form === DW_FORM.flagPresent || r.unsigned(1) !== 0;
        break;
    }
    r.at = at;
    skipForm(r, form, unit);
  }
  return die;
}

/** A constant; undefined for a form that is none (an expression for a bound that is known at run time only). */
function readNumber(r: Reader, form: number, implicit: number): number | undefined {
  switch (form) {
    case DW_FORM.data1:
      return r.unsigned(1);
    case DW_FORM.data2:
      return r.unsigned(2);
    case DW_FORM.data4:
    case DW_FORM.secOffset:
      return r.unsigned(4);
    case DW_FORM.data8:
      return r.unsigned(8);
    case DW_FORM.udata:
      return r.uleb();
    case DW_FORM.sdata:
      return r.sleb();
    case DW_FORM.implicitConst:
      return implicit;
    default:
      return undefined;
  }
}

/** An enumerator's value, which may need all 64 bits. */
function readInteger(r: Reader, form: number, implicit: number): bigint | undefined {
  if (form === DW_FORM.data8) {
    const low = BigInt(r.unsigned(4));
    return low | (BigInt(r.unsigned(4)) << 32n);
  }
  if (form === DW_FORM.udata || form === DW_FORM.sdata) {
    let value = 0n;
    let shift = 0n;
    let byte: number;
    do {
      byte = r.unsigned(1);
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
    } while (byte >= 0x80 && shift < 70n);
    return form === DW_FORM.sdata && byte & 0x40 ? value - (1n << shift) : BigInt.asUintN(64, value);
  }
  const value = readNumber(r, form, implicit);
  return value === undefined ? undefined : BigInt(value);
}

/** An offset as a constant, or as the expression that versions 2 and 3 have: DW_OP_plus_uconst. */
function readLocation(r: Reader, form: number, implicit: number): number | undefined {
  let length: number;
  if (form === DW_FORM.block1) length = r.unsigned(1);
  else if (form === DW_FORM.exprloc || form === DW_FORM.block) length = r.uleb();
  else return readNumber(r, form, implicit);
  const operation = length > 0 ? r.unsigned(1) : 0;
  return operation === DW_OP_PLUS_UCONST || operation === DW_OP_CONSTU ? r.uleb() : undefined;
}

function readReference(r: Reader, form: number, unit: Unit): number | undefined {
  switch (form) {
    case DW_FORM.ref1:
      return unit.offset + r.unsigned(1);
    case DW_FORM.ref2:
      return unit.offset + r.unsigned(2);
    case DW_FORM.ref4:
      return unit.offset + r.unsigned(4);
    case DW_FORM.ref8:
      return unit.offset + r.unsigned(8);
    case DW_FORM.refUdata:
      return unit.offset + r.uleb();
    case DW_FORM.refAddr:
      return r.unsigned(unit.version === 2 ? unit.addressSize : unit.offsetSize);
    default:
      return undefined; // in a type unit or a supplementary file
  }
}

/** undefined for a string that lies in a supplementary file. */
export function readString(
  r: Reader,
  form: number,
  unit: Unit,
  sections: DwarfSections,
  strOffsetsBase: number,
): string | undefined {
  if (form === DW_FORM.string) {
    const start = r.string();
    return latin1.decode(r.bytes.subarray(start, r.at - 1));
  }
  if (form === DW_FORM.lineStrp) {
    return stringAt(sections.lineStr, r.unsigned(unit.offsetSize), `${sections.name}: .debug_line_str`);
  }
  const offset = stringOffset(r, form, unit, sections, strOffsetsBase);
  return offset < 0 ? undefined : stringAt(sections.str, offset, `${sections.name}: .debug_str`);
}

/** Offset of a name in .debug_str, or -1 when the form keeps its string elsewhere. */
export function stringOffset(
  r: Reader,
  form: number,
  unit: Unit,
  sections: DwarfSections,
  strOffsetsBase: number,
): number {
  let index: number;
  if (form === DW_FORM.strp) return r.unsigned(unit.offsetSize);
  if (form >= DW_FORM.strx1 && form <= DW_FORM.strx4) index = r.unsigned(form - DW_FORM.strx1 + 1);
  else if (form === DW_FORM.strx || form === DW_FORM.gnuStrIndex) index = r.uleb();
  else return -1;
  const table = new Reader(sections.strOffsets, `${sections.name}: .debug_str_offsets`);
  table.skip(strOffsetsBase + index * unit.offsetSize);
  return table.unsigned(unit.offsetSize);
}

export function stringAt(strings: Uint8Array, offset: number, where: string): string {
  const end = offset < strings.length ? strings.indexOf(0, offset) : -1;
  if (end < 0) throw new FormatError(`${where}+0x${offset.toString(16)}`, `no string, of ${strings.length} bytes`);
  return latin1.decode(strings.subarray(offset, end));
}
