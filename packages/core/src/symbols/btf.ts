// BTF (Documentation/bpf/btf.rst, include/uapi/linux/btf.h): the layouts of a kernel's own types, which most
// kernels since 5.2 carry in their memory. 150,000 types are indexed by one pass over numbers; names stay bytes.
import { Cursor } from "../bytes/cursor.ts";
import { FormatError, UnsupportedError } from "../bytes/errors.ts";
import { NameIndex } from "./name-index.ts";
import { type NameSpace, type RawMember, TypeGraph, type TypeNode, type TypeRef } from "./type-graph.ts";
import type { Variable } from "./types.ts";

const MAGIC = 0xeb9f;
const latin1 = new TextDecoder("latin1");

const K = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  funcProto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

const SPACES: readonly NameSpace[] = ["struct", "union", "enum", "plain"];

/** Bytes behind the 12 of `struct btf_type`: fixed, and for each of `vlen` elements. By kind, 0 unused. */
const FIXED = [0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 4, 0, 0];
const EACH = [0, 0, 0, 0, 12, 12, 8, 0, 0, 0, 0, 0, 0, 8, 0, 12, 0, 0, 0, 12];

export interface BtfOptions {
  /** TypeTable.origin */
  readonly origin?: string;
  /** How messages name the bytes: "vmcore: BTF". */
  readonly where?: string;
  /** The kernel's BTF, for a module's: its types and strings go on where the base's end. */
  readonly base?: BtfTypes;
}

export class BtfTypes extends TypeGraph {
  readonly origin: string;
  /** Number of types, those of the base included, void not. */
  readonly count: number;
  private readonly where: string;
  private readonly base: BtfTypes | undefined;
  private readonly view: DataView;
  /** Offset in `bytes` of type `firstId + i`. */
  private readonly offsets: Int32Array;
  private readonly firstId: number;
  private readonly strings: Uint8Array;
  private readonly firstString: number;
  /** By SPACES. */
  private indexes: readonly NameIndex[] | undefined;
  private enums: number[] | undefined;
  private tellsSign: boolean | undefined;

  /**
   * @param bytes a whole BTF blob, as section .BTF has it; kept, not copied
   * @throws FormatError, TruncatedError (the blob breaks its own rules), UnsupportedError (an unknown kind of type
   *   whose size the blob does not tell)
   */
  constructor(bytes: Uint8Array, options: BtfOptions = {}) {
    super();
    this.origin = options.origin ?? "BTF";
    this.where = options.where ?? "BTF";
    this.base = options.base;
    const c = new Cursor(bytes, this.where);
    if (c.u16() !== MAGIC) throw c.error("no BTF magic", 0);
    const version = c.u8();
    if (version !== 1) throw new UnsupportedError(c.where(2), `BTF version ${version}`);
    c.skip(1);
    const headerLength = c.u32();
    if (headerLength < 24) throw c.error(`header length ${headerLength}`, 4);
    const part = (offset: number, length: number) =>
      new Cursor(bytes, this.where).seek(headerLength).skip(offset).takeBytes(length);
    const typeOffset = c.u32();
    const typeLength = c.u32();
    const types = part(typeOffset, typeLength);
    this.strings = part(c.u32(), c.u32());
    if (this.strings.length > 0 && this.strings[this.strings.length - 1] !== 0) {
      throw new FormatError(this.where, "the string section does not end with NUL");
    }
    // since 7.1 a blob may tell the sizes of kinds that its reader does not know
    const layout = headerLength >= 32 ? part(c.u32(), c.u32()) : new Uint8Array();
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.firstId = (this.base?.count ?? 0) + 1;
    this.firstString = this.base === undefined ? 0 : this.base.firstString + this.base.strings.length;
    this.offsets = indexTypes(this.view, types.byteOffset - bytes.byteOffset, types.length, layout, this.where);
    this.count = this.firstId - 1 + this.offsets.length;
  }

  /** What the BTF_KIND_DATASECs list; a module's own, without those of the base. */
  variables(): Variable[] {
    const { view, offsets, firstId } = this;
    const out: Variable[] = [];
    for (const at of offsets) {
      if (this.kindAt(at) !== K.datasec) continue;
      const section = this.text(view.getUint32(at, true), at);
      const count = view.getUint32(at + 4, true) & 0xffffff;
      for (let entry = at + 12; entry < at + 12 + count * 12; entry += 12) {
        const variable = offsets[view.getUint32(entry, true) - firstId];
        if (variable === undefined || this.kindAt(variable) !== K.var) continue;
        const name = this.text(view.getUint32(variable, true), variable);
        const { size, count, typeName } = this.describe(view.getUint32(variable + 8, true), 0, undefined);
        out.push({ name, section, offset: view.getUint32(entry + 4, true), size, count, typeName });
      }
    }
    return out;
  }

  protected find(space: NameSpace, name: string): TypeRef | undefined {
    this.indexes ??= this.buildIndexes();
    let forward: TypeRef | undefined;
    for (const id of this.indexes[SPACES.indexOf(space)].rows(name)) {
      if (this.isDefinition(id)) return id;
      forward ??= id;
    }
    return this.base?.find(space, name) ?? forward;
  }

  protected *anonymousEnums(): Iterable<TypeRef> {
    if (this.enums === undefined) {
      this.enums = [];
      for (let i = 0; i < this.offsets.length; i++) {
        const at = this.offsets[i];
        const kind = this.kindAt(at);
        if ((kind === K.enum || kind === K.enum64) && this.view.getUint32(at, true) === 0) {
          this.enums.push(this.firstId + i);
        }
      }
    }
    yield* this.enums;
    if (this.base !== undefined) yield* this.base.anonymousEnums();
  }

  *names(): Iterable<string> {
    for (let i = 0; i < this.offsets.length; i++) {
      const at = this.offsets[i];
      const name = this.view.getUint32(at, true);
      const space = SPACES.find((each) => inSpace(this.view.getUint8(at + 7), each));
      if (space === undefined || name === 0) continue;
      yield space === "plain" ? this.text(name, at) : `${space} ${this.text(name, at)}`;
    }
    if (this.base !== undefined) yield* this.base.names();
  }

  protected decode(id: TypeRef): TypeNode {
    if (id < this.firstId && this.base !== undefined) return this.base.node(id);
    const at = this.offsets[id - this.firstId];
    if (at === undefined) throw new FormatError(this.where, `type ${id} of ${this.count}`);
    const { view } = this;
    const info = view.getUint32(at + 4, true);
    const size = view.getUint32(at + 8, true);
    const name = this.text(view.getUint32(at, true), at);
    const flag = info >>> 31 !== 0;
    switch (this.kindAt(at)) {
      case K.int:
      case K.float:
        return { kind: "base", name, size };
      case K.ptr:
        return { kind: "pointer", target: size };
      case K.array:
        return { kind: "array", element: view.getUint32(at + 12, true), count: view.getUint32(at + 20, true) };
      case K.struct:
      case K.union: {
        const kind = this.kindAt(at) === K.struct ? "struct" : "union";
        return { kind, name, size, members: this.membersAt(at, info & 0xffffff, flag) };
      }
      case K.enum:
      case K.enum64:
        return { kind: "enum", name, size, values: this.valuesAt(at, info & 0xffffff, flag) };
      case K.fwd:
        return { kind: "forward", tag: flag ? "union" : "struct", name };
      case K.typedef:
        return { kind: "alias", name, target: size };
      case K.volatile:
      case K.const:
      case K.restrict:
      case K.typeTag:
        return { kind: "alias", target: size };
      case K.funcProto:
        return { kind: "function", result: size };
      default:
        return { kind: "void" };
    }
  }

  private kindAt(at: number): number {
    return this.view.getUint8(at + 7) & 0x7f;
  }

  private membersAt(at: number, count: number, flag: boolean): RawMember[] {
    const out: RawMember[] = [];
    for (let i = 0; i < count; i++) {
      const m = at + 12 + i * 12;
      const name = this.text(this.view.getUint32(m, true), m);
      const type = this.view.getUint32(m + 4, true);
      const offset = this.view.getUint32(m + 8, true);
      const bitSize = flag ? offset >>> 24 : 0;
      const bitOffset = flag ? offset & 0xffffff : offset;
      const old = flag ? undefined : this.oldBitField(type);
      if (old !== undefined) out.push({ name, type, bitOffset: bitOffset + old.offset, bitSize: old.bits });
      else out.push(bitSize > 0 ? { name, type, bitOffset, bitSize } : { name, type, bitOffset });
    }
    return out;
  }

  /** Before kind_flag (4.20) a bit field was a member whose integer type has fewer bits than its size. */
  private oldBitField(id: TypeRef): { offset: number; bits: number } | undefined {
    const at = this.offsets[id - this.firstId];
    if (at === undefined || this.kindAt(at) !== K.int) return undefined;
    const encoding = this.view.getUint32(at + 12, true);
    const bits = encoding & 0xff;
    const offset = (encoding >>> 16) & 0xff;
    return bits === this.view.getUint32(at + 8, true) * 8 && offset === 0 ? undefined : { offset, bits };
  }

  private valuesAt(at: number, count: number, signed: boolean): Map<string, bigint> {
    const { view } = this;
    const wide = this.kindAt(at) === K.enum64;
    this.tellsSign ??= this.hasSignedEnum();
    const out = new Map<string, bigint>();
    for (let i = 0; i < count; i++) {
      const v = at + 12 + i * (wide ? 12 : 8);
      let value = BigInt(view.getUint32(v + 4, true));
      if (wide) {
        value |= BigInt(view.getUint32(v + 8, true)) << 32n;
        if (signed) value = BigInt.asIntN(64, value);
      } else if (this.tellsSign ? signed : value >= 0xffff0000n) {
        // encoders before 6.0 tell no sign: small negative numbers are likelier than flags with all high bits set
        value = BigInt.asIntN(32, value);
      }
      out.set(this.text(view.getUint32(v, true), v), value);
    }
    return out;
  }

  /** Whether this blob's encoder marks signed enums with kind_flag (commit 6089fb325cf7, 6.0). */
  private hasSignedEnum(): boolean {
    for (const at of this.offsets) {
      const top = this.view.getUint8(at + 7);
      if (top === (K.enum | 0x80) || top === (K.enum64 | 0x80)) return true;
    }
    return this.base?.hasSignedEnum() ?? false;
  }

  private text(offset: number, at: number): string {
    if (offset === 0) return "";
    if (offset < this.firstString && this.base !== undefined) return this.base.text(offset, at);
    const start = offset - this.firstString;
    if (start >= this.strings.length) {
      throw new FormatError(`${this.where}+0x${at.toString(16)}`, `name at ${offset} of ${this.strings.length}`);
    }
    return latin1.decode(this.strings.subarray(start, this.strings.indexOf(0, start)));
  }

  private isDefinition(id: TypeRef): boolean {
    const at = this.offsets[id - this.firstId];
    const kind = this.kindAt(at);
    return kind !== K.fwd && (kind !== K.enum || (this.view.getUint32(at + 4, true) & 0xffffff) > 0);
  }

  private buildIndexes(): NameIndex[] {
    const { view, offsets, firstId, firstString, strings } = this;
    const indexes = SPACES.map(() => new NameIndex(strings));
    const spaceOf = Int8Array.from({ length: 256 }, (_, top) => SPACES.findIndex((space) => inSpace(top, space)));
    for (let i = 0; i < offsets.length; i++) {
      const at = offsets[i];
      const space = spaceOf[view.getUint8(at + 7)];
      if (space < 0) continue;
      const name = view.getUint32(at, true);
      const start = name - firstString;
      if (name !== 0 && start >= 0 && start < strings.length) indexes[space].add(start, firstId + i);
    }
    return indexes;
  }
}

/**
 * Types out of a lent run of bytes (memory from __start_BTF to __stop_BTF), which is copied.
 * @param origin TypeTable.origin, also the name of the bytes in messages
 * @throws as BtfTypes' constructor
 */
export function openBtf(bytes: Uint8Array, origin: string, base?: BtfTypes): BtfTypes {
  return new BtfTypes(bytes.slice(), { origin, where: origin, base });
}

/** @param top the highest byte of `info`: kind, and in bit 7 kind_flag */
function inSpace(top: number, space: NameSpace): boolean {
  const kind = top & 0x7f;
  switch (space) {
    case "struct":
      return kind === K.struct || top === K.fwd;
    case "union":
      return kind === K.union || top === (K.fwd | 0x80);
    case "enum":
      return kind === K.enum || kind === K.enum64;
    case "plain":
      return kind === K.int || kind === K.float || kind === K.typedef;
  }
}

/** Offsets of all types, checked to lie inside the type section with all that belongs to them. */
function indexTypes(view: DataView, start: number, length: number, layout: Uint8Array, where: string): Int32Array {
  const offsets = new Int32Array(Math.floor(length / 12));
  const end = start + length;
  let count = 0;
  let at = start;
  while (at < end) {
    if (at + 12 > end) throw new FormatError(`${where}+0x${at.toString(16)}`, "type runs past the type section");
    const info = view.getUint32(at + 4, true);
    const kind = (info >>> 24) & 0x7f;
    let fixed = FIXED[kind];
    let each = EACH[kind];
    if (kind === 0 || fixed === undefined) {
      if (kind === 0 || kind * 4 + 4 > layout.length) {
        throw new UnsupportedError(`${where}+0x${at.toString(16)}`, `BTF kind ${kind} (type ${count + 1})`);
      }
      fixed = layout[kind * 4];
      each = layout[kind * 4 + 1];
    }
    offsets[count++] = at;
    at += 12 + fixed + each * (info & 0xffffff);
    if (at > end) {
      const from = offsets[count - 1].toString(16);
      throw new FormatError(`${where}+0x${from}`, `type ${count} of kind ${kind} runs past the type section`);
    }
  }
  return offsets.slice(0, count);
}
