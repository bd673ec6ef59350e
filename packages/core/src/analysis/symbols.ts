// `symbols`: look names and addresses up in the kernel's own tables.
import { formatAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { nearNames } from "../kernel/near-names.ts";
import type { SymbolsResult } from "../results/results.ts";
import type { KernelSymbol } from "../symbols/types.ts";
import { globExpression } from "./pattern.ts";

/**
 * @param patterns names, patterns with * and ?, addresses, each also as MODULE:PATTERN ("vmlinux" is the core)
 * @param limit most matches; 0 for all
 */
export function symbolsOf(kernel: Kernel, patterns: readonly string[], limit = 100): SymbolsResult {
  const all: Match[] = [];
  let leftOut = 0;
  const unmatched: SymbolsResult["unmatched"][number][] = [];
  for (const pattern of patterns.length === 0 ? ["*"] : patterns) {
    const found = [...matches(kernel, pattern)];
    all.push(...(limit === 0 ? found : found.slice(0, limit)));
    leftOut += limit === 0 ? 0 : Math.max(0, found.length - limit);
    if (found.length === 0) unmatched.push({ pattern, near: nearNames(kernel.allSymbols, nameIn(pattern).name) });
  }
  const shown = limit === 0 ? all : all.slice(0, limit);
  return { schema: "palimpsest/symbols/1", matches: shown, leftOut: leftOut + all.length - shown.length, unmatched };
}

/** "floppy:redo_*" → module and pattern; an address or a bare pattern has no module. */
function nameIn(pattern: string): { readonly module?: string; readonly name: string } {
  const match = /^([\w-]+):(.+)$/.exec(pattern);
  return match === null ? { name: pattern } : { module: match[1].replaceAll("-", "_"), name: match[2] };
}

type Match = SymbolsResult["matches"][number];

function* matches(kernel: Kernel, asked: string): Generator<Match> {
  const { module, name: pattern } = nameIn(asked);
  const wanted = (symbol: KernelSymbol): boolean =>
    module === undefined || (module === "vmlinux" ? symbol.module === undefined : symbol.module === module);
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
    for (const symbol of kernel.allSymbols.lookupAll(pattern)) if (wanted(symbol)) yield match(symbol);
    return;
  }
  const expression = globExpression(pattern);
  for (const symbol of kernel.allSymbols.all()) if (wanted(symbol) && expression.test(symbol.name)) yield match(symbol);
}
