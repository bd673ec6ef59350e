// Which site covers a byte. Built only when there is something to explain: a clean dump never sorts its 400,000 sites.
import type { KernelOffset } from "../bytes/brand.ts";
import type { InFlightPoke } from "../sites/base/in-flight.ts";
import type { SiteList } from "../sites/base/site.ts";
import type { ReplayedObject } from "../sites/replay.ts";

export interface SiteHit {
  readonly list: SiteList;
  readonly index: number;
  readonly start: KernelOffset;
  readonly length: number;
}

export class SiteIndex {
  private readonly orders: { list: SiteList; keys: Float64Array; longest: number }[] | undefined[] = [];

  constructor(private readonly lists: readonly SiteList[]) {}

  /** All sites that cover the offset, later mechanisms first (the last writer explains most). */
  covering(offset: KernelOffset): SiteHit[] {
    const hits: SiteHit[] = [];
    for (let k = this.lists.length - 1; k >= 0; k--) {
      const { list, keys, longest } = this.order(k);
      let low = 0;
      let high = keys.length;
      const limit = (offset + 1) * TWO20;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (keys[middle] < limit) low = middle + 1;
        else high = middle;
      }
      for (let i = low - 1; i >= 0; i--) {
        const start = Math.floor(keys[i] / TWO20);
        if (offset - start >= longest) break;
        const index = keys[i] % TWO20;
        const length = list.lengths[index];
        if (offset < start + length) hits.push({ list, index, start, length });
      }
    }
    return hits;
  }

  private order(k: number): { list: SiteList; keys: Float64Array; longest: number } {
    let order = this.orders[k];
    if (order === undefined) {
      const list = this.lists[k];
      const keys = new Float64Array(list.offsets.length);
      let longest = 1;
      for (let i = 0; i < keys.length; i++) {
        keys[i] = list.offsets[i] * TWO20 + i;
        if (list.lengths[i] > longest) longest = list.lengths[i];
      }
      keys.sort();
      order = { list, keys, longest };
      this.orders[k] = order;
    }
    return order;
  }
}

/** Which places being written cover a byte: a mechanism under change may have as many as it has sites. */
export class PokeIndex {
  private readonly pokes: readonly InFlightPoke[];
  private readonly longest: number;

  constructor(pokes: readonly InFlightPoke[]) {
    this.pokes = [...pokes].sort((a, b) => a.start - b.start);
    this.longest = pokes.reduce((longest, { length }) => Math.max(longest, length), 0);
  }

  covering(offset: KernelOffset): InFlightPoke[] {
    let low = 0;
    let high = this.pokes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pokes[middle].start <= offset - this.longest) low = middle + 1;
      else high = middle;
    }
    const hits: InFlightPoke[] = [];
    for (let i = low; i < this.pokes.length && this.pokes[i].start <= offset; i++) {
      if (offset < this.pokes[i].start + this.pokes[i].length) hits.push(this.pokes[i]);
    }
    return hits;
  }
}

/** Site numbers fit 20 bits, offsets 31: both fit a double exactly. */
const TWO20 = 2 ** 20;

/** Bytes of the site that starts at the offset, in whichever object has one there. */
export function siteLengthAt(
  objects: readonly { readonly replayed: ReplayedObject }[],
  offset: KernelOffset,
): number | undefined {
  for (const { replayed } of objects) {
    const hit = new SiteIndex(replayed.sites).covering(offset).find((each) => each.start === offset);
    if (hit !== undefined) return hit.length;
  }
  return undefined;
}
