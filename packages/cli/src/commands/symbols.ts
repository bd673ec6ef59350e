// `symbols`: look names and addresses up in the kernel's own tables.
import type { Command } from "commander";
import { formatAddress, virtualAddress } from "../../../core/src/bytes/brand.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { symbolsText } from "../../../core/src/report/symbols-text.ts";
import type { SymbolsResult } from "../../../core/src/results/results.ts";
import type { KernelSymbol } from "../../../core/src/symbols/types.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { dumpCommand, globExpression, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

export function registerSymbols(program: Command): void {
  dumpCommand(program, "symbols", "[patterns...]", "look symbols up: a name, a pattern with * and ?, or an address")
    .addOption(wholeNumberOption("--limit <n>", "matches to show (0: all)", "100"))
    .action((dump: string, patterns: string[], _options: unknown, command: Command) =>
      symbols(dump, patterns, command),
    );
}

async function symbols(dump: string, patterns: string[], command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, ({ kernel }) => {
    const limit = wholeNumber(options.limit, 100);
    const all = (patterns.length === 0 ? ["*"] : patterns).flatMap((pattern) => [...matches(kernel, pattern)]);
    const shown = limit === 0 ? all : all.slice(0, limit);
    const result: SymbolsResult = {
      schema: "palimpsest/symbols/1",
      matches: shown,
      leftOut: all.length - shown.length,
    };
    printResult(options, result, symbolsText);
    if (all.length === 0) note(`palimpsest: no symbol matches ${patterns.join(" ")}`);
    return all.length > 0 ? 0 : 2;
  });
}

type Match = SymbolsResult["matches"][number];

function* matches(kernel: Kernel, pattern: string): Generator<Match> {
  const match = (symbol: KernelSymbol, plus = 0): Match => ({
    address: formatAddress(symbol.address),
    type: symbol.type,
    name: plus === 0 ? symbol.name : `${symbol.name}+0x${plus.toString(16)}`,
    module: symbol.module ?? null,
  });
  if (/^(0x)?[0-9a-f]{9,16}$/i.test(pattern)) {
    const near = kernel.allSymbols.nearest(virtualAddress(BigInt(`0x${pattern.replace(/^0x/i, "")}`)));
    if (near !== undefined) yield match(near.symbol, near.offset);
    return;
  }
  if (!/[*?]/.test(pattern)) {
    for (const symbol of kernel.allSymbols.lookupAll(pattern)) yield match(symbol);
    return;
  }
  const expression = globExpression(pattern);
  for (const symbol of kernel.allSymbols.all()) if (expression.test(symbol.name)) yield match(symbol);
}
