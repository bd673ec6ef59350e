// A TypeTable out of written-down or discovered layouts, for kernels whose own description of their types is gone.
import { type NameSpace, type RawMember, TypeGraph, type TypeNode, type TypeRef } from "../type-graph.ts";

/** [path, offset in bytes, C type]: ["core_layout.base", 320, "void *"]. A path with dots makes nested structures. */
export type ShapeMember = readonly [path: string, offset: number, type: string];

export interface StructShape {
  /** "struct module" */
  readonly name: string;
  /** bytes; left out when only some members are known */
  readonly size?: number;
  readonly members: readonly ShapeMember[];
}

const BASE_SIZES: Readonly<Record<string, number>> = {
  char: 1,
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  int: 4,
  "unsigned int": 4,
  "long int": 8,
  "long unsigned int": 8,
};

export class ShapeTypes extends TypeGraph {
  private readonly list: TypeNode[] = [{ kind: "void" }];
  private readonly byName = new Map<string, TypeRef>();

  /** @param shapes structures, each after those that it has by value */
  constructor(
    readonly origin: string,
    readonly shapes: readonly StructShape[],
  ) {
    super();
    for (const [name, size] of Object.entries(BASE_SIZES))
      this.byName.set(name, this.put({ kind: "base", name, size }));
    for (const shape of shapes) {
      const name = shape.name.replace(/^struct /, "");
      this.byName.set(`struct ${name}`, this.struct(name, shape.size, shape.members, 0));
    }
  }

  names(): Iterable<string> {
    return this.byName.keys();
  }

  protected decode(ref: TypeRef): TypeNode {
    return this.list[ref];
  }

  protected find(space: NameSpace, name: string): TypeRef | undefined {
    return this.byName.get(space === "plain" ? name : `${space} ${name}`);
  }

  protected *anonymousEnums(): Iterable<TypeRef> {}

  private put(node: TypeNode): TypeRef {
    return this.list.push(node) - 1;
  }

  private struct(name: string, size: number | undefined, members: readonly ShapeMember[], start: number): TypeRef {
    const out: RawMember[] = [];
    const nested = new Map<string, ShapeMember[]>();
    for (const [path, offset, type] of members) {
      const dot = path.indexOf(".");
      if (dot < 0) out.push({ name: path, type: this.type(type), bitOffset: (offset - start) * 8 });
      else {
        const outer = path.slice(0, dot);
        const inner: ShapeMember = [path.slice(dot + 1), offset, type];
        const list = nested.get(outer);
        if (list === undefined) nested.set(outer, [inner]);
        else list.push(inner);
      }
    }
    for (const [outer, list] of nested) {
      const first = Math.min(...list.map(([, offset]) => offset));
      out.push({ name: outer, type: this.struct("", undefined, list, first), bitOffset: (first - start) * 8 });
    }
    out.sort((a, b) => a.bitOffset - b.bitOffset);
    return this.put({ kind: "struct", name, size, members: out });
  }

  private type(text: string): TypeRef {
    const array = /^(.*?)\s*\[(\d+)\]$/.exec(text);
    if (array) return this.put({ kind: "array", element: this.type(array[1]), count: Number(array[2]) });
    const pointer = /^(.*?)\s*\*$/.exec(text);
    if (pointer) return this.put({ kind: "pointer", target: pointer[1] === "void" ? 0 : this.type(pointer[1]) });
    const known = this.byName.get(text);
    if (known !== undefined) return known;
    return this.put({ kind: "forward", tag: "struct", name: text.replace(/^struct /, "") });
  }
}
