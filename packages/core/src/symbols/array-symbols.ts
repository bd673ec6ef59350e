// A symbol table over symbols that somebody has already made: a module's few hundred, a test's handful.
import { compareAddresses, SortedSymbols, signedAddress } from "./sorted-symbols.ts";
import type { KernelSymbol, SymbolTable } from "./types.ts";

class ArraySymbols extends SortedSymbols {
  private index: Map<string, number[]> | undefined;

  constructor(private readonly symbols: readonly KernelSymbol[]) {
    super(Float64Array.from(symbols, (symbol) => signedAddress(symbol.address)));
  }
  protected symbol(row: number): KernelSymbol {
    return this.symbols[row];
  }
  protected typeOf(row: number): string {
    return this.symbols[row].type;
  }
  protected rows(name: string): readonly number[] {
    this.index ??= indexNames(this.symbols);
    return this.index.get(name) ?? [];
  }
}

/** A table of the given symbols, in any order; those at one address keep theirs. */
export function arraySymbolTable(symbols: readonly KernelSymbol[]): SymbolTable {
  const sorted = symbols
    .map((symbol) => ({ symbol, key: signedAddress(symbol.address) }))
    .sort((a, b) => compareAddresses(a.key, b.key));
  return new ArraySymbols(sorted.map((entry) => entry.symbol));
}

function indexNames(symbols: readonly KernelSymbol[]): Map<string, number[]> {
  const index = new Map<string, number[]>();
  symbols.forEach((symbol, row) => {
    const rows = index.get(symbol.name);
    if (rows === undefined) index.set(symbol.name, [row]);
    else rows.push(row);
  });
  return index;
}
