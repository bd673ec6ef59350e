// What a place beside all sites lies at a distance of: the sites in front of it and behind it. Places that a rule wrote share
// such a distance; those that belong to functions have it to the sites of ftrace or to sealed ENDBRs, which start functions.
import type { KernelOffset } from "../bytes/brand.ts";
import type { SiteList } from "../sites/base/site.ts";
import type { ObjectAudit } from "./object-audit.ts";

export interface Anchor {
  /** "places 11 bytes in front of a ftrace site"; the same for places of one line */
  readonly words: string;
  readonly mechanism: string;
}

/** Prefixes with padding are no longer, nor is what stands in front of a call (kCFI's comparison: 14 bytes). */
const REACH = 64;

export interface Sorted {
  readonly list: SiteList;
  readonly starts: Uint32Array;
}

/** The sites of objects in order, sorted once for all places that are asked for. */
export class SortedSites {
  private readonly known = new Map<ObjectAudit, readonly Sorted[]>();

  of(object: ObjectAudit): readonly Sorted[] {
    let known = this.known.get(object);
    if (known === undefined) {
      known = object.replayed.sites.map((list) => ({ list, starts: list.offsets.slice().sort() }));
      this.known.set(object, known);
    }
    return known;
  }
}

/** All anchors of one place. */
export function anchorsOf(sites: SortedSites, object: ObjectAudit, at: KernelOffset): Anchor[] {
  const out: Anchor[] = [];
  for (const { list, starts } of sites.of(object)) {
    const next = firstAfter(starts, at);
    const distance = next < starts.length ? starts[next] - at : Number.POSITIVE_INFINITY;
    if (distance <= REACH) {
      const words = `places ${distance} bytes in front of a ${list.mechanism} site`;
      out.push({ words, mechanism: list.mechanism });
    }
    const behind = next > 0 ? at - starts[next - 1] : Number.POSITIVE_INFINITY;
    if (behind <= REACH) {
      const words = `places ${behind} bytes behind the start of a ${list.mechanism} site`;
      out.push({ words, mechanism: list.mechanism });
    }
  }
  return out;
}

/** Index of the first start that is larger. */
function firstAfter(starts: Uint32Array, at: KernelOffset): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}
