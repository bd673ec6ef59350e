// What every symbol table shares: addresses in order, found by binary search over doubles, so that 200,000 symbols
// cost 1.6 MB and no object until one is asked for. Where names come from is the business of the subclass.
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { KernelSymbol, NearestSymbol, SymbolTable } from "./types.ts";

/**
 * A gap that no object of a kernel fills: an address further than this above a symbol is not covered by it (the
 * direct map lies "above" the last zero-based per-CPU symbol, for one).
 */
const REACH = 2 ** 28;
/** How far the last symbol of a table, whose end nobody tells, may reach. */
const LAST_REACH = 2 ** 16;

/**
 * An address as a double, exact for all that has symbols: as a signed number, kernel addresses are small negatives
 * (0xffffffff80000000 is -2^31, the direct map of 4-level page tables about -2^47; that of 5 levels, -2^56, is rounded
 * and only ever asked for, never the address of a symbol). Ascending signed order would put user addresses
 * above; the zero-based per-CPU symbols are such, and tables list them first: see `compareAddresses`.
 */
export function signedAddress(address: bigint): number {
  return Number(BigInt.asIntN(64, address));
}

/** Back from the double. */
export function unsignedAddress(signed: number): VirtualAddress {
  return virtualAddress(BigInt(signed));
}

/** Order of unsigned 64-bit addresses, on their signed doubles: non-negative ones (lower half) come first. */
export function compareAddresses(a: number, b: number): number {
  if (a < 0 !== b < 0) return a < 0 ? 1 : -1;
  return a - b;
}

/** Bytes from `low` up to `high`; across the halves of the address space it is more than any object spans. */
function distance(low: number, high: number): number {
  return low < 0 === high < 0 ? high - low : Number.POSITIVE_INFINITY;
}

/** nm's order of preference for one address: a global name, then a weak one, then a local one; "A" last. */
function rank(type: string): number {
  if (type === "A" || type === "a" || type === "?") return 3;
  if (type === "W" || type === "V" || type === "w" || type === "v") return 1;
  return type >= "A" && type <= "Z" ? 0 : 2;
}

export abstract class SortedSymbols implements SymbolTable {
  /** @param addresses signed doubles (`signedAddress`), in `compareAddresses` order */
  constructor(protected readonly addresses: Float64Array) {}

  get count(): number {
    return this.addresses.length;
  }

  /** The symbol of row `index`. */
  protected abstract symbol(index: number): KernelSymbol;
  /** nm's letter of row `index`, cheaper than the symbol. */
  protected abstract typeOf(index: number): string;
  /** Rows with that name, ascending. */
  protected abstract rows(name: string): readonly number[];

  lookup(name: string): KernelSymbol | undefined {
    const row = this.rows(name)[0];
    return row === undefined ? undefined : this.symbol(row);
  }

  lookupAll(name: string): KernelSymbol[] {
    return this.rows(name).map((row) => this.symbol(row));
  }

  nearest(address: VirtualAddress): NearestSymbol | undefined {
    const end = this.upperBound(address);
    if (end === 0) return undefined;
    const start = this.addresses[end - 1];
    const offset = distance(start, signedAddress(address));
    const next = end < this.count ? distance(start, this.addresses[end]) : undefined;
    if (offset > (next === undefined ? LAST_REACH : REACH)) return undefined;
    let best = end - 1;
    let bestRank = rank(this.typeOf(best));
    for (let i = end - 2; i >= 0 && this.addresses[i] === start; i--) {
      const r = rank(this.typeOf(i));
      if (r <= bestRank) {
        best = i;
        bestRank = r;
      }
    }
    const size = next === undefined || next > REACH ? undefined : next;
    return { symbol: this.symbol(best), offset, size };
  }

  at(address: VirtualAddress): KernelSymbol[] {
    const out: KernelSymbol[] = [];
    const signed = signedAddress(address);
    let first = this.upperBound(address);
    const end = first;
    while (first > 0 && this.addresses[first - 1] === signed) first--;
    for (let i = first; i < end; i++) out.push(this.symbol(i));
    return out;
  }

  *all(): Iterable<KernelSymbol> {
    for (let i = 0; i < this.count; i++) yield this.symbol(i);
  }

  /** The first row above `address`. */
  private upperBound(address: VirtualAddress): number {
    const signed = signedAddress(address);
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareAddresses(this.addresses[middle], signed) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
