// What BTF and DWARF share: C types as a graph of numbered nodes, and the ways through it that a TypeTable offers
// (sizes, member paths, flattened members, enumerators). A source of types only says what one node is.
import type { Member, TypeTable } from "./types.ts";

/** A node's number; its meaning belongs to the source (BTF type id, DWARF offset). 0 is void. */
export type TypeRef = number;

export interface RawMember {
  /** "" when anonymous */
  readonly name: string;
  readonly type: TypeRef;
  /** bits from the start of the structure */
  readonly bitOffset: number;
  /** bit fields only */
  readonly bitSize?: number;
}

export type TypeNode =
  | { readonly kind: "base"; readonly name: string; readonly size: number }
  | { readonly kind: "pointer"; readonly target: TypeRef }
  | { readonly kind: "array"; readonly element: TypeRef; readonly count: number }
  | {
      readonly kind: "struct" | "union";
      readonly name: string;
      /** undefined when only some members are known */
      readonly size: number | undefined;
      readonly members: readonly RawMember[];
    }
  | {
      readonly kind: "enum";
      readonly name: string;
      readonly size: number;
      readonly values: ReadonlyMap<string, bigint>;
    }
  /** Named for typedefs; const, volatile, restrict, type tags have `name` undefined. */
  | { readonly kind: "alias"; readonly name?: string; readonly target: TypeRef }
  | { readonly kind: "forward"; readonly tag: "struct" | "union" | "enum"; readonly name: string }
  | { readonly kind: "function"; readonly result: TypeRef }
  | { readonly kind: "void" };

/** What a name may stand for: "struct x", "union x", "enum x", or a bare typedef or base type. */
export type NameSpace = "struct" | "union" | "enum" | "plain";

const POINTER_SIZE = 8;
/** Longest chain of typedefs and qualifiers, and deepest nesting, that is followed: a cycle ends here. */
const MAX_STEPS = 64;
const MAX_DEPTH = 24;
/** Longest list of flattened members; the largest structures of a kernel have several hundred. */
const MAX_MEMBERS = 20_000;
/** Members that are looked at for one question, anonymous ones inside anonymous ones included. */
const MAX_LOOKS = 100_000;

interface Found {
  readonly type: TypeRef;
  readonly bitOffset: number;
  readonly bitSize?: number;
}

export abstract class TypeGraph implements TypeTable {
  abstract readonly origin: string;
  private readonly nodes = new Map<TypeRef, TypeNode>();
  private readonly contradictions = new Set<string>();
  private readonly foundNames = new Map<string, TypeRef | undefined>();

  /** Decodes one node; called once for each that is asked for. */
  protected abstract decode(ref: TypeRef): TypeNode;
  /** The definition of that name, or failing that a forward declaration. */
  protected abstract find(space: NameSpace, name: string): TypeRef | undefined;
  /** Enums without a name, for `enumerator("", …)`. */
  protected abstract anonymousEnums(): Iterable<TypeRef>;
  abstract names(): Iterable<string>;

  problems(): readonly string[] {
    return [...this.contradictions];
  }

  /** What no compiler writes. Such a type has the members that were reached before, and no more. */
  private contradicts(node: TypeNode, how: string): void {
    const name = node.kind === "struct" || node.kind === "union" ? `${node.kind} ${node.name || "{…}"}` : node.kind;
    if (this.contradictions.size < 16) this.contradictions.add(`${this.origin}: ${name} ${how}`);
  }

  /** find(), asked once a name: a name may have thousands of declarations. */
  private findOnce(space: NameSpace, name: string): TypeRef | undefined {
    const key = `${space} ${name}`;
    if (!this.foundNames.has(key)) this.foundNames.set(key, this.find(space, name));
    return this.foundNames.get(key);
  }

  sizeOf(type: string): number | undefined {
    if (type.trimEnd().endsWith("*")) return POINTER_SIZE;
    const ref = this.named(type);
    return ref === undefined ? undefined : this.size(ref);
  }

  originOf(type: string): string | undefined {
    return this.named(type) === undefined ? undefined : this.origin;
  }

  member(type: string, path: string): Member | undefined {
    const place = this.place(type, path);
    return place && this.describe(place.type, place.bitOffset, place.bitSize);
  }

  private place(type: string, path: string): Found | undefined {
    const steps = parsePath(path);
    let ref = this.named(type);
    if (steps === undefined || ref === undefined) return undefined;
    let bits = 0;
    let bitSize: number | undefined;
    for (const step of steps) {
      if (bitSize !== undefined) return undefined;
      if (typeof step === "number") {
        const node = this.resolve(ref);
        if (node.kind !== "array" || (node.count > 0 && step >= node.count)) return undefined;
        bits += step * (this.size(node.element) ?? Number.NaN) * 8;
        ref = node.element;
      } else {
        const found: Found | undefined = this.findMember(ref, step, new Set(), { left: MAX_LOOKS });
        if (found === undefined) return undefined;
        bits += found.bitOffset;
        bitSize = found.bitSize;
        ref = found.type;
      }
    }
    return Number.isSafeInteger(bits) ? { type: ref, bitOffset: bits, bitSize } : undefined;
  }

  members(type: string, path?: string): readonly (Member & { readonly name: string })[] | undefined {
    const place = path === undefined ? { type: this.named(type), bitOffset: 0 } : this.place(type, path);
    if (place?.type === undefined) return undefined;
    const node = this.resolve(place.type);
    if (node.kind !== "struct" && node.kind !== "union") return undefined;
    const out: (Member & { readonly name: string })[] = [];
    this.flatten(node.members, place.bitOffset, [node], out, { left: MAX_LOOKS });
    return out;
  }

  /** As the contract says; with `enumName` "" an enumerator of any anonymous enum. */
  enumerator(enumName: string, name: string): bigint | undefined {
    if (enumName !== "") return this.enumerators(enumName)?.get(name);
    for (const ref of this.anonymousEnums()) {
      const node = this.node(ref);
      const value = node.kind === "enum" ? node.values.get(name) : undefined;
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** `enumName` with or without "enum " before it; a typedef of an enum will do. */
  enumerators(enumName: string): ReadonlyMap<string, bigint> | undefined {
    const bare = enumName.replace(/^enum\s+/, "");
    for (const space of ["enum", "plain"] as const) {
      const ref = this.findOnce(space, bare);
      const node = ref === undefined ? undefined : this.resolve(ref);
      if (node?.kind === "enum") return node.values;
    }
    return undefined;
  }

  protected node(ref: TypeRef): TypeNode {
    if (ref === 0) return { kind: "void" };
    let node = this.nodes.get(ref);
    if (node === undefined) {
      node = this.decode(ref);
      this.nodes.set(ref, node);
    }
    return node;
  }

  private named(type: string): TypeRef | undefined {
    const match = /^(struct|union|enum)\s+(.+)$/.exec(type.trim());
    return match ? this.findOnce(match[1] as NameSpace, match[2]) : this.findOnce("plain", baseName(type.trim()));
  }

  /** Behind typedefs and qualifiers; a declaration gives way to the definition of its name. */
  private resolve(ref: TypeRef): TypeNode {
    let node = this.node(ref);
    for (let i = 0; i < MAX_STEPS; i++) {
      if (node.kind === "alias") node = this.node(node.target);
      else if (node.kind === "forward") {
        const full = this.findOnce(node.tag, node.name);
        const target = full === undefined ? node : this.node(full);
        return target.kind === "alias" ? node : target;
      } else return node;
    }
    return { kind: "void" };
  }

  private size(ref: TypeRef, depth = 0): number | undefined {
    const node = this.resolve(ref);
    switch (node.kind) {
      case "base":
      case "struct":
      case "union":
      case "enum":
        return node.size;
      case "pointer":
        return POINTER_SIZE;
      case "array": {
        const element = depth < MAX_DEPTH ? this.size(node.element, depth + 1) : undefined;
        return element === undefined ? undefined : element * node.count;
      }
      default:
        return undefined;
    }
  }

  /** @param seen structures that are known not to have it, or that the search is inside of */
  private findMember(ref: TypeRef, name: string, seen: Set<TypeNode>, budget: { left: number }): Found | undefined {
    const node = this.resolve(ref);
    if ((node.kind !== "struct" && node.kind !== "union") || seen.has(node) || seen.size > MAX_MEMBERS)
      return undefined;
    seen.add(node);
    budget.left -= node.members.length;
    if (budget.left < 0) {
      this.contradicts(node, `has more than ${MAX_LOOKS} members`);
      return undefined;
    }
    const own = node.members.find((m) => m.name === name);
    if (own !== undefined) return own;
    if (seen.size > MAX_DEPTH * MAX_DEPTH) return undefined;
    for (const member of node.members) {
      if (member.name !== "") continue;
      const inner = this.findMember(member.type, name, seen, budget);
      if (inner !== undefined) return { ...inner, bitOffset: member.bitOffset + inner.bitOffset };
    }
    return undefined;
  }

  /** @param inside the structures that these are members of, outermost first */
  private flatten(
    members: readonly RawMember[],
    start: number,
    inside: readonly TypeNode[],
    out: (Member & { readonly name: string })[],
    budget: { left: number },
  ): void {
    for (const member of members) {
      if (--budget.left < 0 || out.length >= MAX_MEMBERS) {
        this.contradicts(inside[0], `has more than ${MAX_MEMBERS} members`);
        return;
      }
      const inner = member.name === "" ? this.resolve(member.type) : undefined;
      if (inner?.kind === "struct" || inner?.kind === "union") {
        if (inside.includes(inner)) this.contradicts(inner, "contains itself");
        else if (inside.length <= MAX_DEPTH)
          this.flatten(inner.members, start + member.bitOffset, [...inside, inner], out, budget);
      } else if (member.name !== "") {
        out.push({ name: member.name, ...this.describe(member.type, start + member.bitOffset, member.bitSize) });
      }
    }
  }

  protected describe(ref: TypeRef, bits: number, bitSize: number | undefined): Member {
    const node = this.resolve(ref);
    const size = this.size(ref) ?? 0;
    const typeName = this.typeName(ref);
    if (bitSize !== undefined) return { ...bitFieldStorage(bits, bitSize, size), bitSize, typeName };
    const count = node.kind === "array" ? node.count : undefined;
    return { offset: Math.floor(bits / 8), size, ...(count === undefined ? {} : { count }), typeName };
  }

  private typeName(ref: TypeRef, depth = 0): string {
    const node = this.node(ref);
    if (depth > MAX_DEPTH) return "…";
    switch (node.kind) {
      case "void":
        return "void";
      case "base":
        return node.name;
      case "struct":
      case "union":
      case "enum":
        return `${node.kind} ${node.name || "{…}"}`;
      case "forward":
        return `${node.tag} ${node.name}`;
      case "alias":
        return node.name ?? this.typeName(node.target, depth + 1);
      case "array": {
        const dimensions = [node.count];
        let element = node.element;
        for (let inner = this.node(element); inner.kind === "array" && dimensions.length < MAX_DEPTH; ) {
          dimensions.push(inner.count);
          element = inner.element;
          inner = this.node(element);
        }
        return `${this.typeName(element, depth + 1)}${dimensions.map((n) => `[${n}]`).join("")}`;
      }
      case "function":
        return `${this.typeName(node.result, depth + 1)} (…)`;
      case "pointer": {
        const target = this.node(node.target);
        if (target.kind === "function") return `${this.typeName(target.result, depth + 1)} (*)(…)`;
        const text = this.typeName(node.target, depth + 1);
        return text.endsWith("*") ? `${text}*` : `${text} *`;
      }
    }
  }
}

/** Where a bit field's storage lies: its type's own unit when it fits in one, the bytes it touches otherwise. */
function bitFieldStorage(bits: number, bitSize: number, unit: number) {
  const unitBits = unit * 8;
  if (unitBits > 0 && Math.floor(bits / unitBits) === Math.floor((bits + bitSize - 1) / unitBits)) {
    const offset = Math.floor(bits / unitBits) * unit;
    return { offset, size: unit, bitOffset: bits - offset * 8 };
  }
  const offset = Math.floor(bits / 8);
  return { offset, size: Math.ceil((bits - offset * 8 + bitSize) / 8), bitOffset: bits - offset * 8 };
}

/** The compiler's spelling of a C base type: "unsigned long" is "long unsigned int" in BTF and DWARF. */
function baseName(name: string): string {
  const words = name.split(/\s+/);
  if (!words.every((word) => /^(unsigned|signed|long|short|int)$/.test(word))) return name;
  const longs = words.filter((word) => word === "long");
  const short = words.includes("short") ? ["short"] : [];
  const unsigned = words.includes("unsigned") ? ["unsigned"] : [];
  return [...longs, ...short, ...unsigned, "int"].join(" ");
}

/** "a.b[2].c" → ["a", "b", 2, "c"]; undefined when it is no path. */
function parsePath(path: string): (string | number)[] | undefined {
  const steps: (string | number)[] = [];
  for (const part of path.split(".")) {
    const match = /^([A-Za-z_]\w*)((?:\[\d{1,9}\])*)$/.exec(part);
    if (match === null) return undefined;
    steps.push(match[1]);
    for (const index of match[2].matchAll(/\d+/g)) steps.push(Number(index[0]));
  }
  return steps;
}
