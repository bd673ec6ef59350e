// The entries of a relocation table that lie in one section. Kernels come with up to 20,000 sections and 350,000 entries: a
// walk over all entries for each section never ends.
import { derived } from "../bytes/derived.ts";

/** A table in ascending order (relocs.c sorts them nearly, not wholly). */
function inOrder(entries: Int32Array): Int32Array {
  return entries.every((entry, i) => i === 0 || entries[i - 1] <= entry) ? entries : entries.slice().sort();
}

/** The entries in [from, to), ascending, as a view. */
export function entriesIn(entries: Int32Array, from: number, to: number): Int32Array {
  const sorted = derived(entries, inOrder);
  const first = lowerBound(sorted, from);
  return sorted.subarray(first, Math.max(first, lowerBound(sorted, to)));
}

/** Index of the first entry that is no smaller. */
function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
