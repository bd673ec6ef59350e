// Writes a .BTF section out of C types (Documentation/bpf/btf.rst): header, types, strings.
import { ByteWriter } from "../bytes.ts";
import type { CRecord, CType, CTypes } from "./c-types.ts";

const KIND = {
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  const: 10,
  func: 12,
  proto: 13,
  var: 14,
  datasec: 15,
};
const INT_SIGNED = 1;
const INT_BOOL = 4;

export interface BtfVariable {
  readonly name: string;
  /** "struct rq", "int" … */
  readonly type: string;
  /** offset in its section */
  readonly offset: number;
}

class BtfBuilder {
  private readonly strings = new ByteWriter().u8(0);
  private readonly stringAt = new Map<string, number>([["", 0]]);
  private readonly typeBytes = new ByteWriter();
  private readonly ids = new Map<string, number>();
  private count = 0;
  private readonly pending: (() => void)[] = [];

  constructor(private readonly types: CTypes) {}

  private string(text: string): number {
    let at = this.stringAt.get(text);
    if (at === undefined) {
      at = this.strings.length;
      this.strings.cstring(text);
      this.stringAt.set(text, at);
    }
    return at;
  }

  /** Starts a type; its id is returned. `flag` is kind_flag: bit fields in a structure, union for a forward. */
  private begin(name: string, kind: number, vlen: number, flag: boolean, sizeOrType: number): number {
    this.typeBytes.u32(this.string(name));
    this.typeBytes.u32((vlen & 0xffff) | (kind << 24) | (flag ? 1 << 31 : 0));
    this.typeBytes.u32(sizeOrType);
    this.count += 1;
    return this.count;
  }

  private once(key: string, make: () => number): number {
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const id = make();
    this.ids.set(key, id);
    return id;
  }

  /** Types that a definition refers to must have ids before it is written, so ids are handed out depth first. */
  id(type: CType): number {
    if (type.kind === "int")
      return this.once(`int ${type.name}`, () => {
        const id = this.begin(type.name, KIND.int, 0, false, type.size);
        this.typeBytes.u32(((type.bool ? INT_BOOL : type.signed ? INT_SIGNED : 0) << 24) | (type.size * 8));
        return id;
      });
    if (type.kind === "pointer") return this.pointer(type.to, type.isConst);
    if (type.kind === "array") return this.array(type);
    if (type.kind === "record") return this.record(type.record);
    return this.named(type.name);
  }

  private pointer(to: string, isConst: boolean): number {
    return this.once(`ptr ${isConst} ${to}`, () => {
      if (to === "function") {
        const proto = this.once("proto", () => this.begin("", KIND.proto, 0, false, 0));
        return this.begin("", KIND.ptr, 0, false, proto);
      }
      // Named structures may refer back to this pointer: they are written later, under an id reserved now.
      let target = to === "void" ? 0 : this.reference(to);
      if (isConst) target = this.begin("", KIND.const, 0, false, target);
      return this.begin("", KIND.ptr, 0, false, target);
    });
  }

  /** The id of a pointer's target. Structures become forward declarations when nothing defines them. */
  private reference(name: string): number {
    const record = /^(struct|union) (.+)$/.exec(name);
    if (!record) return this.named(name);
    if (!this.types.records.has(name))
      return this.once(name, () => this.begin(record[2], KIND.fwd, 0, record[1] === "union", 0));
    return this.named(name);
  }

  private array(type: Extract<CType, { kind: "array" }>): number {
    const of = this.id(type.of);
    return this.once(`array ${of} ${type.count}`, () => {
      const index = this.id({ kind: "int", name: "long unsigned int", size: 8, signed: false });
      const id = this.begin("", KIND.array, 0, false, 0);
      this.typeBytes.u32(of).u32(index).u32(type.count);
      return id;
    });
  }

  private named(name: string): number {
    const known = this.ids.get(name);
    if (known !== undefined) return known;
    const typedef = this.types.typedefs.get(name);
    if (typedef) {
      const to = this.id(typedef);
      return this.once(name, () => this.begin(name, KIND.typedef, 0, false, to));
    }
    if (name.startsWith("enum ")) return this.enumeration(name.slice(5), name);
    const base = this.types.records.get(name);
    if (base) return this.record(base, name);
    const resolved = this.types.resolve({ kind: "named", name });
    if (resolved.kind !== "named") return this.id(resolved);
    return this.baseType(name);
  }

  private baseType(name: string): number {
    const sizes: Readonly<Record<string, [number, boolean]>> = {
      char: [1, true],
      int: [4, true],
      "unsigned int": [4, false],
      "unsigned char": [1, false],
      "long int": [8, true],
      "long unsigned int": [8, false],
      "short unsigned int": [2, false],
    };
    const known = sizes[name];
    if (!known) throw new Error(`BTF: type ${name} is not declared`);
    return this.id({ kind: "int", name, size: known[0], signed: known[1] });
  }

  private enumeration(name: string, key: string): number {
    return this.once(key, () => {
      const values = this.types.enums.get(name)?.values ?? [];
      const id = this.begin(name, KIND.enum, values.length, false, 4);
      for (const [label, value] of values) this.typeBytes.u32(this.string(label)).u32(value);
      return id;
    });
  }

  /** A structure is written with its members' type ids still 0 and completed after every member has one. */
  private record(record: CRecord, key?: string): number {
    const make = (): number => {
      const flag = record.members.some((m) => m.bits !== undefined);
      const kind = record.kind === "struct" ? KIND.struct : KIND.union;
      const id = this.begin(record.name, kind, record.members.length, flag, record.size);
      for (const m of record.members) {
        this.typeBytes.u32(this.string(m.name));
        const at = this.typeBytes.length;
        const bit = m.bitOffset ?? m.offset * 8;
        this.typeBytes.u32(0).u32(flag ? (bit & 0xffffff) | ((m.bits ?? 0) << 24) : bit);
        this.pending.push(() => this.typeBytes.patch32(at, this.id(m.type)));
      }
      return id;
    };
    return key === undefined ? make() : this.once(key, make);
  }

  variables(section: string, variables: readonly BtfVariable[]): void {
    const made = variables.map((v) => {
      const type = this.named(v.type);
      this.settle();
      const id = this.begin(v.name, KIND.var, 0, false, type);
      this.typeBytes.u32(1);
      return { id, offset: v.offset, size: this.types.sized({ kind: "named", name: v.type }).size };
    });
    this.begin(section, KIND.datasec, made.length, false, 0);
    for (const m of made) this.typeBytes.u32(m.id).u32(m.offset).u32(m.size);
  }

  private settle(): void {
    for (let action = this.pending.shift(); action; action = this.pending.shift()) action();
  }

  finish(): Uint8Array {
    this.settle();
    const types = this.typeBytes.take();
    const strings = this.strings.take();
    const header = new ByteWriter().u16(0xeb9f).u8(1).u8(0).u32(24);
    header.u32(0).u32(types.length).u32(types.length).u32(strings.length);
    return header.bytes(types).bytes(strings).take();
  }

  all(): void {
    for (const name of this.types.records.keys()) this.named(name);
    for (const name of this.types.typedefs.keys()) this.named(name);
    for (const name of this.types.enums.keys()) if (name !== "") this.named(`enum ${name}`);
    this.settle();
  }
}

/** The whole .BTF section for all declared types. */
export function writeBtf(types: CTypes): Uint8Array {
  const builder = new BtfBuilder(types);
  builder.all();
  return builder.finish();
}
