// `types`: how the structures of this kernel are laid out, and where that is known from.
import type { Command } from "commander";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { resolveType } from "../../../core/src/kernel/layouts/type-names.ts";
import { typesText } from "../../../core/src/report/types-text.ts";
import type { TypesResult } from "../../../core/src/results/types-results.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import {
  COULD_NOT,
  dumpCommand,
  globExpression,
  printResult,
  wholeNumber,
  wholeNumberOption,
  withDump,
} from "./common.ts";

export function registerTypes(program: Command): void {
  dumpCommand(
    program,
    "types",
    "<names...>",
    'layouts of C types: "struct module", module, task_struct.thread, an enum; with * and ? lists names',
  )
    .addOption(wholeNumberOption("--limit <n>", "names of a pattern to show (0: all)", "100"))
    .action((dump: string, names: string[], _options: unknown, command: Command) => types(dump, names, command));
}

async function types(dump: string, names: string[], command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, ({ kernel, paint }) => {
    const result = typesOf(kernel, names, wholeNumber(options.limit, 100));
    printResult(options, result, (r) => typesText(r, paint));
    if (result.types.length + result.names.length > 0) return 0;
    note(`palimpsest: no type matches ${names.join(" ")}`);
    return COULD_NOT;
  });
}

/**
 * @param limit names of a pattern that are listed; 0 for all
 * @throws MissingError for a type or member that is not known
 */
export function typesOf(kernel: Kernel, wanted: readonly string[], limit: number): TypesResult {
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
