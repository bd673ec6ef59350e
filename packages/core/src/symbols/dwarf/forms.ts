// How DWARF packs attribute values: sizes and readings of the forms of versions 2 to 5, GNU's additions included.
// A reader that does not know a form cannot go on, as nothing tells how long the value is.
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";

export const DW_TAG = {
  arrayType: 0x01,
  enumerationType: 0x04,
  member: 0x0d,
  pointerType: 0x0f,
  compileUnit: 0x11,
  structureType: 0x13,
  subroutineType: 0x15,
  typedef: 0x16,
  unionType: 0x17,
  subrangeType: 0x21,
  baseType: 0x24,
  constType: 0x26,
  enumerator: 0x28,
  volatileType: 0x35,
  restrictType: 0x37,
  unspecifiedType: 0x3b,
  atomicType: 0x47,
} as const;

export const DW_AT = {
  sibling: 0x01,
  name: 0x03,
  byteSize: 0x0b,
  bitOffset: 0x0c,
  bitSize: 0x0d,
  language: 0x13,
  constValue: 0x1c,
  upperBound: 0x2f,
  count: 0x37,
  dataMemberLocation: 0x38,
  declaration: 0x3c,
  type: 0x49,
  dataBitOffset: 0x6b,
  strOffsetsBase: 0x72,
} as const;

export const DW_FORM = {
  addr: 0x01,
  block2: 0x03,
  block4: 0x04,
  data2: 0x05,
  data4: 0x06,
  data8: 0x07,
  string: 0x08,
  block: 0x09,
  block1: 0x0a,
  data1: 0x0b,
  flag: 0x0c,
  sdata: 0x0d,
  strp: 0x0e,
  udata: 0x0f,
  refAddr: 0x10,
  ref1: 0x11,
  ref2: 0x12,
  ref4: 0x13,
  ref8: 0x14,
  refUdata: 0x15,
  indirect: 0x16,
  secOffset: 0x17,
  exprloc: 0x18,
  flagPresent: 0x19,
  strx: 0x1a,
  addrx: 0x1b,
  refSup4: 0x1c,
  strpSup: 0x1d,
  data16: 0x1e,
  lineStrp: 0x1f,
  refSig8: 0x20,
  implicitConst: 0x21,
  loclistx: 0x22,
  rnglistx: 0x23,
  refSup8: 0x24,
  strx1: 0x25,
  strx2: 0x26,
  strx3: 0x27,
  strx4: 0x28,
  addrx1: 0x29,
  addrx2: 0x2a,
  addrx3: 0x2b,
  addrx4: 0x2c,
  gnuAddrIndex: 0x1f01,
  gnuStrIndex: 0x1f02,
  gnuRefAlt: 0x1f20,
  gnuStrpAlt: 0x1f21,
} as const;

/** What a unit's header says about the sizes inside it. */
export interface Encoding {
  readonly version: number;
  /** 4, or 8 in the 64-bit format */
  readonly offsetSize: 4 | 8;
  readonly addressSize: number;
}

/** A place in bytes; reading moves it. Kept apart from Cursor for its speed: every read here is checked by `end`. */
export class Reader {
  at = 0;
  private readonly view: DataView;
  constructor(
    readonly bytes: Uint8Array,
    /** for messages: "vmlinux: .debug_info" */
    readonly where: string,
    /** offset of `bytes` in that section */
    readonly base = 0,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  place(at = this.at): string {
    return `${this.where}+0x${(this.base + at).toString(16)}`;
  }

  /** @throws TruncatedError when a read went past the end */
  check(): void {
    if (this.at > this.bytes.length) {
      throw new TruncatedError(this.place(this.bytes.length), this.at - this.bytes.length, 0);
    }
  }

  skip(length: number): void {
    this.at += length;
    this.check();
  }

  unsigned(size: number): number {
    const at = this.at;
    this.skip(size);
    switch (size) {
      case 1:
        return this.bytes[at];
      case 2:
        return this.view.getUint16(at, true);
      case 3:
        return this.view.getUint16(at, true) | (this.bytes[at + 2] << 16);
      case 4:
        return this.view.getUint32(at, true);
      case 8:
        return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
      default:
        throw new FormatError(this.place(at), `a number of ${size} bytes`);
    }
  }

  /** As a number: exact up to 2^53, which no size, offset or code of a kernel exceeds. */
  uleb(): number {
    let byte = this.bytes[this.at++];
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
    }
    this.check();
    return value;
  }

  sleb(): number {
    let value = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte >= 0x80);
    this.check();
    return byte & 0x40 ? value - 2 ** shift : value;
  }

  /** Past a NUL-terminated string; returns where it starts. */
  string(): number {
    const start = this.at;
    const end = this.bytes.indexOf(0, start);
    if (end < 0) throw new TruncatedError(this.place(start), this.bytes.length - start + 1, this.bytes.length - start);
    this.at = end + 1;
    return start;
  }
}

/** Bytes of a form when they do not depend on the value; -1 otherwise. */
export function fixedSize(form: number, unit: Encoding): number {
  switch (form) {
    case DW_FORM.flagPresent:
    case DW_FORM.implicitConst:
      return 0;
    case DW_FORM.data1:
    case DW_FORM.flag:
    case DW_FORM.ref1:
    case DW_FORM.strx1:
    case DW_FORM.addrx1:
      return 1;
    case DW_FORM.data2:
    case DW_FORM.ref2:
    case DW_FORM.strx2:
    case DW_FORM.addrx2:
      return 2;
    case DW_FORM.strx3:
    case DW_FORM.addrx3:
      return 3;
    case DW_FORM.data4:
    case DW_FORM.ref4:
    case DW_FORM.refSup4:
    case DW_FORM.strx4:
    case DW_FORM.addrx4:
      return 4;
    case DW_FORM.data8:
    case DW_FORM.ref8:
    case DW_FORM.refSig8:
    case DW_FORM.refSup8:
      return 8;
    case DW_FORM.data16:
      return 16;
    case DW_FORM.strp:
    case DW_FORM.lineStrp:
    case DW_FORM.secOffset:
    case DW_FORM.strpSup:
    case DW_FORM.gnuRefAlt:
    case DW_FORM.gnuStrpAlt:
      return unit.offsetSize;
    case DW_FORM.refAddr: // of an address's size in version 2
      return unit.version === 2 ? unit.addressSize : unit.offsetSize;
    case DW_FORM.addr:
      return unit.addressSize;
    default:
      return -1;
  }
}

/** Moves behind a value. @throws UnsupportedError for a form that DWARF 5 and GNU do not have */
export function skipForm(r: Reader, form: number, unit: Encoding): void {
  const size = fixedSize(form, unit);
  if (size >= 0) {
    r.skip(size);
    return;
  }
  switch (form) {
    case DW_FORM.string:
      r.string();
      return;
    case DW_FORM.sdata:
    case DW_FORM.udata:
    case DW_FORM.refUdata:
    case DW_FORM.strx:
    case DW_FORM.addrx:
    case DW_FORM.loclistx:
    case DW_FORM.rnglistx:
    case DW_FORM.gnuAddrIndex:
    case DW_FORM.gnuStrIndex:
      r.uleb();
      return;
    case DW_FORM.block1:
      r.skip(r.unsigned(1));
      return;
    case DW_FORM.block2:
      r.skip(r.unsigned(2));
      return;
    case DW_FORM.block4:
      r.skip(r.unsigned(4));
      return;
    case DW_FORM.block:
    case DW_FORM.exprloc:
      r.skip(r.uleb());
      return;
    case DW_FORM.indirect: {
      const at = r.at;
      const inner = r.uleb();
      if (inner === DW_FORM.indirect || inner === DW_FORM.implicitConst) {
        throw new FormatError(r.place(at), `form 0x${inner.toString(16)} inside DW_FORM_indirect`);
      }
      skipForm(r, inner, unit);
      return;
    }
    default:
      throw new UnsupportedError(r.place(), `DWARF form 0x${form.toString(16)}`);
  }
}
