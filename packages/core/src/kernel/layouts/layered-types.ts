// Layouts from several sources as one table: debug information of a module knows struct module but not what is private
// to ftrace; what the dump proves about itself fills the rest.
import type { Member, TypeTable, Variable } from "../../symbols/types.ts";

export class LayeredTypes implements TypeTable {
  private readonly chosen = new Map<string, TypeTable | null>();

  /** @param layers best first; the first that knows a type is asked about it */
  constructor(private readonly layers: readonly TypeTable[]) {}

  get origin(): string {
    return this.layers.map((layer) => layer.origin).join("; else ");
  }

  sizeOf(type: string): number | undefined {
    return this.layer(type)?.sizeOf(type);
  }

  member(type: string, path: string): Member | undefined {
    return this.layer(type)?.member(type, path);
  }

  members(type: string, path?: string): readonly (Member & { readonly name: string })[] | undefined {
    return this.layer(type)?.members(type, path);
  }

  enumerator(enumName: string, name: string): bigint | undefined {
    for (const layer of this.layers) {
      const value = layer.enumerator(enumName, name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  enumerators(enumName: string): ReadonlyMap<string, bigint> | undefined {
    for (const layer of this.layers) {
      const values = layer.enumerators(enumName);
      if (values !== undefined) return values;
    }
    return undefined;
  }

  originOf(type: string): string | undefined {
    return this.layers.map((layer) => layer.originOf(type)).find((origin) => origin !== undefined);
  }

  *names(): Iterable<string> {
    for (const layer of this.layers) yield* layer.names();
  }

  variables(): readonly Variable[] {
    return this.layers.flatMap((layer) => layer.variables?.() ?? []);
  }

  problems(): readonly string[] {
    return this.layers.flatMap((layer) => layer.problems?.() ?? []);
  }

  private layer(type: string): TypeTable | undefined {
    let layer = this.chosen.get(type);
    if (layer === undefined) {
      layer = this.layers.find((each) => each.sizeOf(type) !== undefined || each.members(type) !== undefined) ?? null;
      this.chosen.set(type, layer);
    }
    return layer ?? undefined;
  }
}
