// `types`: how the structures of this kernel are laid out, and where that is known from.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { resolveType } from "../kernel/layouts/type-names.ts";
import type { TypesResult } from "../results/types-results.ts";
import { globExpression } from "./pattern.ts";

/**
 * @param limit names of a pattern that are listed; 0 for all
 * @throws MissingError for a type or member that is not known
 */
export function typesOf(kernel: Kernel, wanted: readonly string[], limit = 100): TypesResult {
  const patterns = wanted.filter((name) => /[*?]/.test(name));
  const found = new Set<string>();
  for (const pattern of patterns) {
    const expression = globExpression(pattern);
    for (const name of kernel.types.names()) {
      if (expression.test(name) || expression.test(name.replace(/^(struct|union|enum) /, ""))) found.add(name);
    }
  }
  const names = [...found].sort();
  const shown = limit === 0 ? names : names.slice(0, limit);
  return {
    schema: "palimpsest/types/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    types: wanted.filter((name) => !patterns.includes(name)).map((name) => typeFact(kernel, name)),
    names: shown,
    leftOut: names.length - shown.length,
  };
}

function typeFact(kernel: Kernel, text: string): TypesResult["types"][number] {
  const { type, path } = resolveType(kernel.types, text);
  const kind = /^(struct|union|enum) /.exec(type)?.[1] as "struct" | "union" | "enum" | undefined;
  const members = kernel.types.members(type, path);
  const single = path === undefined ? undefined : kernel.types.member(type, path);
  const told = members ?? (single === undefined ? [] : [{ name: path ?? "", ...single }]);
  const enumerators = members === undefined && single === undefined ? kernel.types.enumerators(type) : undefined;
  return {
    name: path === undefined ? type : `${type}.${path}`.replace(".[", "["),
    kind: kind ?? (members === undefined ? "other" : "struct"),
    size: (path === undefined ? kernel.types.sizeOf(type) : single?.size) ?? null,
    source: kernel.types.originOf(type) ?? kernel.types.origin,
    members: told.map(({ name, offset, size, typeName, bitOffset, bitSize, count }) => ({
      name,
      offset,
      size,
      type: typeName,
      ...(bitSize === undefined ? {} : { bitOffset: bitOffset ?? 0, bitSize }),
      ...(count === undefined ? {} : { count }),
    })),
    enumerators: Array.from(enumerators ?? [], ([name, value]) => ({ name, value: value.toString() })),
  };
}
