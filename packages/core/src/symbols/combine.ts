// One table over several: the core's symbols and each module's. Nothing is copied or decoded; a question goes to
// every table, and the answers are put in order.
import type { VirtualAddress } from "../bytes/brand.ts";
import type { KernelSymbol, NearestSymbol, SymbolTable } from "./types.ts";

class CombinedSymbols implements SymbolTable {
  readonly count: number;

  constructor(private readonly tables: readonly SymbolTable[]) {
    this.count = tables.reduce((sum, table) => sum + table.count, 0);
  }

  lookup(name: string): KernelSymbol | undefined {
    for (const table of this.tables) {
      const symbol = table.lookup(name);
      if (symbol !== undefined) return symbol;
    }
    return undefined;
  }

  lookupAll(name: string): KernelSymbol[] {
    return this.tables.flatMap((table) => table.lookupAll(name));
  }

  nearest(address: VirtualAddress): NearestSymbol | undefined {
    let best: NearestSymbol | undefined;
    let end: bigint | undefined;
    for (const table of this.tables) {
      const found = table.nearest(address);
      if (found === undefined) continue;
      const foundEnd = found.size === undefined ? undefined : found.symbol.address + BigInt(found.size);
      if (foundEnd !== undefined && (end === undefined || foundEnd < end)) end = foundEnd;
      if (best === undefined || found.offset < best.offset) best = found;
    }
    if (best === undefined || end === undefined) return best;
    // a symbol of one table ends at the latest where the next one of another begins
    return { ...best, size: Number(end - best.symbol.address) };
  }

  at(address: VirtualAddress): KernelSymbol[] {
    return this.tables.flatMap((table) => table.at(address));
  }

  *all(): Iterable<KernelSymbol> {
    const heads = this.tables
      .map((table) => table.all()[Symbol.iterator]())
      .map((rest) => ({ rest, next: rest.next() }));
    for (;;) {
      let first: (typeof heads)[number] | undefined;
      for (const head of heads) {
        if (head.next.done) continue;
        if (first?.next.value === undefined || head.next.value.address < first.next.value.address) first = head;
      }
      if (first === undefined || first.next.done) return;
      yield first.next.value;
      first.next = first.rest.next();
    }
  }
}

/**
 * `core` and the modules' tables as one. `lookup` prefers the core's symbol, then the modules' in their order, as
 * the kernel's own kallsyms_lookup_name does; `nearest` gives the closest of all.
 */
export function combineSymbols(core: SymbolTable, modules: readonly SymbolTable[]): SymbolTable {
  return new CombinedSymbols([core, ...modules]);
}
