// "Did you mean": the names that are nearest to one that does not exist.
import type { SymbolTable } from "../symbols/types.ts";

/** Names that differ in more letters than this are other names. */
const MOST_EDITS = 2;
const MOST_NAMES = 3;

/** The nearest names of a table, nearest first; none for a pattern or a very short name. */
export function nearNames(symbols: Pick<SymbolTable, "all">, name: string): string[] {
  if (name.length < 4 || name.length > 128 || /[*?]/.test(name)) return [];
  const found = new Map<string, number>();
  for (const symbol of symbols.all()) {
    if (Math.abs(symbol.name.length - name.length) > MOST_EDITS || found.has(symbol.name)) continue;
    const edits = changes(symbol.name, name, MOST_EDITS);
    if (edits <= MOST_EDITS) found.set(symbol.name, edits);
  }
  return [...found]
    .sort(([a, one], [b, other]) => one - other || (a < b ? -1 : 1))
    .slice(0, MOST_NAMES)
    .map(([near]) => near);
}

/** Letters to change, add, leave out or swap between two names; more than `most` is told as most + 1. */
export function changes(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let older: number[] = [];
  let before = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, older[j - 2] + 1);
      row.push(least);
    }
    if (Math.min(...row) > most) return most + 1;
    older = before;
    before = row;
  }
  return before[b.length];
}
