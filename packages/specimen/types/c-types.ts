// C declarations as text to types with layouts, by the rules of the x86-64 ABI. The specimen's structures are
// written down once, as C; the BTF section and the memory's content both follow from it.

export type CType =
  | {
      readonly kind: "int";
      readonly name: string;
      readonly size: number;
      readonly signed: boolean;
      readonly bool?: boolean;
    }
  | { readonly kind: "pointer"; readonly to: string | "void" | "function"; readonly isConst: boolean }
  | { readonly kind: "array"; readonly of: CType; readonly count: number }
  | { readonly kind: "named"; readonly name: string }
  | { readonly kind: "record"; readonly record: CRecord };

export interface CMember {
  /** "" for an anonymous structure or union */
  readonly name: string;
  readonly type: CType;
  readonly offset: number;
  readonly bits?: number;
  /** bit number inside the structure, for bit fields */
  readonly bitOffset?: number;
}

export interface CRecord {
  readonly kind: "struct" | "union";
  readonly name: string;
  readonly members: readonly CMember[];
  readonly size: number;
  readonly align: number;
}

export interface CEnum {
  readonly name: string;
  readonly values: readonly (readonly [string, number])[];
}

const BASE: Readonly<Record<string, readonly [number, boolean]>> = {
  char: [1, true],
  "unsigned char": [1, false],
  "short int": [2, true],
  "short unsigned int": [2, false],
  int: [4, true],
  "unsigned int": [4, false],
  "long int": [8, true],
  "long unsigned int": [8, false],
  "long long unsigned int": [8, false],
  _Bool: [1, false],
};
const SPELLINGS: Readonly<Record<string, string>> = {
  bool: "_Bool",
  short: "short int",
  "unsigned short": "short unsigned int",
  unsigned: "unsigned int",
  long: "long int",
  "unsigned long": "long unsigned int",
  "unsigned long long": "long long unsigned int",
};

interface Sized {
  readonly size: number;
  readonly align: number;
}

export class CTypes {
  readonly records = new Map<string, CRecord>();
  readonly enums = new Map<string, CEnum>();
  readonly typedefs = new Map<string, CType>();

  /** @param text `struct NAME { … };`, `union`, `enum`, `typedef`; `} @align(64);` and `} @packed;` set attributes */
  constructor(text: string) {
    const tokens = text.replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, " ").match(/\w+|[{}()[\];*,:=@-]/g) ?? [];
    const parser = new Parser(tokens, this);
    parser.declarations();
  }

  resolve(type: CType): CType {
    if (type.kind !== "named") return type;
    const typedef = this.typedefs.get(type.name);
    return typedef ? this.resolve(typedef) : type;
  }

  /** Size and alignment in bytes. */
  sized(type: CType): Sized {
    const t = this.resolve(type);
    if (t.kind === "int") return { size: t.size, align: t.size };
    if (t.kind === "pointer") return { size: 8, align: 8 };
    if (t.kind === "record") return t.record;
    if (t.kind === "array") {
      const of = this.sized(t.of);
      return { size: of.size * t.count, align: of.align };
    }
    if (t.name.startsWith("enum ")) return { size: 4, align: 4 };
    const record = this.records.get(t.name);
    if (!record) throw new Error(`C type ${t.name} is not declared`);
    return record;
  }

  sizeOf(name: string): number {
    return this.sized(this.typedefs.has(name) ? { kind: "named", name } : { kind: "named", name }).size;
  }

  /** Offset of a member path ("core_layout.base", "attrs[2].address") and its type. */
  member(record: string, path: string): { readonly offset: number; readonly type: CType; readonly size: number } {
    let type: CType = { kind: "named", name: record };
    let offset = 0;
    for (const part of path.match(/\w+|\[\d+\]/g) ?? []) {
      const t: CType = this.resolve(type);
      if (part.startsWith("[")) {
        if (t.kind !== "array") throw new Error(`${record}.${path}: not an array`);
        offset += this.sized(t.of).size * Number(part.slice(1, -1));
        type = t.of;
        continue;
      }
      const found = this.find(t, part);
      if (!found) throw new Error(`${record}.${path}: no member ${part}`);
      offset += found.offset;
      type = found.type;
    }
    return { offset, type, size: this.sized(type).size };
  }

  offset(record: string, path: string): number {
    return this.member(record, path).offset;
  }

  private find(type: CType, name: string): { offset: number; type: CType } | undefined {
    const record =
      type.kind === "record" ? type.record : type.kind === "named" ? this.records.get(type.name) : undefined;
    for (const m of record?.members ?? []) {
      if (m.name === name) return m;
      if (m.name !== "") continue;
      const inner = this.find(this.resolve(m.type), name);
      if (inner) return { offset: m.offset + inner.offset, type: inner.type };
    }
    return undefined;
  }
}

class Parser {
  private at = 0;
  constructor(
    private readonly tokens: readonly string[],
    private readonly types: CTypes,
  ) {}

  private peek(): string {
    return this.tokens[this.at] ?? "";
  }
  private next(): string {
    return this.tokens[this.at++] ?? "";
  }
  private expect(token: string): void {
    const got = this.next();
    if (got !== token)
      throw new Error(
        `C text: "${token}" expected, not "${got}" (${this.tokens.slice(this.at - 6, this.at + 3).join(" ")})`,
      );
  }

  declarations(): void {
    while (this.at < this.tokens.length) {
      if (this.peek() === "typedef") {
        this.next();
        const base = this.specifier();
        const { name, type } = this.declarator(base);
        this.types.typedefs.set(name, type);
      } else this.specifier();
      this.expect(";");
    }
  }

  private specifier(): CType {
    let isConst = false;
    if (this.peek() === "const") {
      this.next();
      isConst = true;
    }
    const word = this.next();
    if (word === "struct" || word === "union") return this.record(word);
    if (word === "enum") return this.enumeration();
    let name = word;
    while (/^(unsigned|long|int|short|char)$/.test(this.peek())) name += ` ${this.next()}`;
    const base = SPELLINGS[name] ?? name;
    const known = BASE[base];
    this.constNext = isConst;
    if (known) return { kind: "int", name: base, size: known[0], signed: known[1], bool: base === "_Bool" };
    return { kind: "named", name: base };
  }
  private constNext = false;

  private enumeration(): CType {
    const name = this.peek() === "{" ? "" : this.next();
    if (this.peek() === "{") {
      this.next();
      const values: [string, number][] = [];
      let value = 0;
      while (this.peek() !== "}") {
        const label = this.next();
        if (this.peek() === "=") {
          this.next();
          const sign = this.peek() === "-" ? -1 : 1;
          if (sign < 0) this.next();
          value = sign * Number(this.next());
        }
        values.push([label, value++]);
        if (this.peek() === ",") this.next();
      }
      this.next();
      this.types.enums.set(name, { name, values });
    }
    return { kind: "named", name: `enum ${name}` };
  }

  private record(kind: "struct" | "union"): CType {
    const name = this.peek() === "{" ? "" : this.next();
    if (this.peek() !== "{") return { kind: "named", name: `${kind} ${name}` };
    this.next();
    const drafts: { name: string; type: CType; bits?: number }[] = [];
    while (this.peek() !== "}") {
      const base = this.specifier();
      if (this.peek() === ";") drafts.push({ name: "", type: base });
      else drafts.push(this.declarator(base));
      this.expect(";");
    }
    this.next();
    let align = 1;
    let packed = false;
    while (this.peek() === "@") {
      this.next();
      if (this.next() === "packed") packed = true;
      else {
        this.expect("(");
        align = Number(this.next());
        this.expect(")");
      }
    }
    const record = layOut(this.types, kind, name, drafts, align, packed);
    if (name === "") return { kind: "record", record };
    this.types.records.set(`${kind} ${name}`, record);
    return { kind: "named", name: `${kind} ${name}` };
  }

  private declarator(base: CType): { name: string; type: CType; bits?: number } {
    let type = base;
    const isConst = this.constNext;
    this.constNext = false;
    while (this.peek() === "*") {
      this.next();
      type = { kind: "pointer", to: pointee(type), isConst };
    }
    if (this.peek() === "(") {
      this.next();
      this.expect("*");
      const name = this.next();
      const dims = this.dimensions();
      this.expect(")");
      this.expect("(");
      for (let depth = 1; depth > 0; ) {
        const token = this.next();
        if (token === "(") depth++;
        if (token === ")") depth--;
      }
      return { name, type: arrayOf({ kind: "pointer", to: "function", isConst: false }, dims) };
    }
    const name = this.next();
    const dims = this.dimensions();
    if (this.peek() === ":") {
      this.next();
      return { name, type, bits: Number(this.next()) };
    }
    return { name, type: arrayOf(type, dims) };
  }

  private dimensions(): number[] {
    const dims: number[] = [];
    while (this.peek() === "[") {
      this.next();
      dims.push(this.peek() === "]" ? 0 : Number(this.next()));
      this.expect("]");
    }
    return dims;
  }
}

function pointee(type: CType): string {
  if (type.kind === "int" || type.kind === "named") return type.name;
  return "void";
}

function arrayOf(type: CType, dims: readonly number[]): CType {
  return dims.reduceRight<CType>((of, count) => ({ kind: "array", of, count }), type);
}

function layOut(
  types: CTypes,
  kind: "struct" | "union",
  name: string,
  drafts: readonly { name: string; type: CType; bits?: number }[],
  minimum: number,
  packed: boolean,
): CRecord {
  const members: CMember[] = [];
  let bit = 0;
  let size = 0;
  let align = minimum;
  for (const d of drafts) {
    const s = types.sized(d.type);
    const unit = packed ? 1 : s.align;
    align = Math.max(align, unit);
    if (kind === "union") bit = 0;
    if (d.bits !== undefined) {
      const storage = s.size * 8;
      if (!packed && Math.floor(bit / storage) !== Math.floor((bit + d.bits - 1) / storage))
        bit = Math.ceil(bit / storage) * storage;
      members.push({ ...d, offset: Math.floor(bit / storage) * s.size, bitOffset: bit });
      bit += d.bits;
    } else {
      const offset = Math.ceil(Math.ceil(bit / 8) / unit) * unit;
      members.push({ name: d.name, type: d.type, offset });
      bit = (offset + s.size) * 8;
    }
    size = Math.max(size, Math.ceil(bit / 8));
  }
  return { kind, name, members, size: Math.ceil(size / align) * align, align };
}
