// `symbols`: look names and addresses up in the kernel's own tables.
import { formatAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { SymbolsResult } from "../results/results.ts";
import type { KernelSymbol } from "../symbols/types.ts";
import { globExpression } from "./pattern.ts";

/** @param limit most matches; 0 for all */
export function symbolsOf(kernel: Kernel, patterns: readonly string[], limit = 100): SymbolsResult {
  const all = (patterns.length === 0 ? ["*"] : patterns).flatMap((pattern) => [...matches(kernel, pattern)]);
  const shown = limit === 0 ? all : all.slice(0, limit);
  return { schema: "palimpsest/symbols/1", matches: shown, leftOut: all.length - shown.length };
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
