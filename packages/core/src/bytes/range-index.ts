// Which of many ranges holds a place. Files tell how many sections there are and how many places are asked for, so that a
// walk over all ranges for each place would multiply two counts that a stranger chose.

export interface IndexedRange<T> {
  readonly start: number;
  /** bytes; an empty range holds nothing */
  readonly length: number;
  readonly value: T;
}

/** Ranges in the order given: of several that hold a place the first one is meant. */
export class RangeIndex<T> {
  /** Ascending; cell i reaches to the start of the next. */
  private readonly cells: Float64Array;
  /** The range of each cell, -1 for none. */
  private readonly owners: Int32Array;

  constructor(private readonly ranges: readonly IndexedRange<T>[]) {
    const edges = new Float64Array(ranges.length * 2);
    ranges.forEach(({ start, length }, i) => {
      edges[2 * i] = start;
      edges[2 * i + 1] = start + length;
    });
    edges.sort();
    this.cells = edges;
    this.owners = new Int32Array(edges.length).fill(-1);
    // Each cell is taken once, by the first range over it: `next` leads past those that are taken.
    const next = Int32Array.from({ length: edges.length + 1 }, (_, i) => i);
    const free = (cell: number): number => {
      let end = cell;
      while (next[end] !== end) end = next[end];
      for (let at = cell; next[at] !== end; ) {
        const step = next[at];
        next[at] = end;
        at = step;
      }
      return end;
    };
    ranges.forEach(({ start, length }, i) => {
      const end = start + length;
      for (let cell = free(this.firstAt(start)); cell < edges.length && edges[cell] < end; cell = free(cell)) {
        this.owners[cell] = i;
        next[cell] = cell + 1;
      }
    });
  }

  /** What holds all of [at, at + length), in the logarithm of the number of ranges. */
  find(at: number, length = 1): IndexedRange<T> | undefined {
    const cell = this.firstAt(at + 0.5) - 1;
    const range = cell < 0 ? undefined : this.ranges[this.owners[cell]];
    return range !== undefined && at + length <= range.start + range.length ? range : undefined;
  }

  /** The first cell that starts at the place or behind it. */
  private firstAt(place: number): number {
    let low = 0;
    let high = this.cells.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.cells[middle] < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
