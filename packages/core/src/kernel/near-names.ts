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
    const edits = editsBetween(name, symbol.name);
    if (edits <= MOST_EDITS) found.set(symbol.name, edits);
  }
  return [...found]
    .sort(([a, one], [b, other]) => one - other || (a < b ? -1 : 1))
    .slice(0, MOST_NAMES)
    .map(([near]) => near);
}

/** Letters to change, add or take away (Levenshtein), but no more than MOST_EDITS + 1 are counted. */
export function editsBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a.charCodeAt(i - 1) === b.charCodeAt(j - 1);
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (same ? 0 : 1)));
    }
    if (Math.min(...next) > MOST_EDITS) return MOST_EDITS + 1;
    row = next;
  }
  return Math.min(row[b.length], MOST_EDITS + 1);
}
