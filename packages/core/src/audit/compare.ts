// The comparison of the three layers, byte by byte: counts by verdict and mechanism in one pass over typed arrays, and the
// runs in which the dump holds neither what was built nor what is intended.
import { type PatchRegion, UNJUDGED } from "../sites/base/patch-space.ts";

export interface RegionCounts {
  bytes: number;
  /** untouched, as built */
  built: number;
  /** equal to the intended bytes and different from the built ones */
  patched: number;
  /** not in the dump, or other than built where the dump does not hold what they should follow */
  absent: number;
  /** patched bytes by mechanism number */
  byMechanism: Float64Array;
}

/** A run of bytes that differ from the intended layer: [start, start+length) inside the region. */
export interface MismatchRun {
  readonly region: PatchRegion;
  readonly start: number;
  readonly length: number;
}

/**
 * @param found what the dump holds; where it is absent, anything
 * @param absent runs of found that are not in the dump, ascending
 * @param sitesOnly there is no built layer: only credited bytes count, all of them as patched
 */
export function compareRegion(
  region: PatchRegion,
  found: Uint8Array,
  absent: readonly { offset: number; length: number }[],
  counts: RegionCounts,
  sitesOnly = false,
): MismatchRun[] {
  const runs: MismatchRun[] = [];
  // There is no built layer to be like: without one only what a mechanism wrote is counted.
  const into = sitesOnly ? { ...counts, byMechanism: new Float64Array(counts.byMechanism.length) } : counts;
  let at = 0;
  for (const gap of absent) {
    comparePart(region, found, at, gap.offset, into, runs);
    into.absent += gap.length;
    at = gap.offset + gap.length;
  }
  comparePart(region, found, at, found.length, into, runs);
  if (!sitesOnly) {
    counts.bytes += found.length;
    return runs;
  }
  let gap = 0;
  for (let i = 0; i < region.credit.length; i++) {
    if (region.credit[i] === 0 || region.credit[i] === UNJUDGED) continue;
    counts.bytes++;
    while (gap < absent.length && absent[gap].offset + absent[gap].length <= i) gap++;
    if (gap < absent.length && i >= absent[gap].offset) counts.absent++;
    else if (found[i] === region.intended[i]) {
      counts.patched++;
      counts.byMechanism[region.credit[i]]++;
    }
  }
  return runs;
}

function comparePart(
  region: PatchRegion,
  found: Uint8Array,
  from: number,
  to: number,
  counts: RegionCounts,
  runs: MismatchRun[],
): void {
  const { built, intended, credit } = region;
  const { byMechanism } = counts;
  let same = 0;
  let patched = 0;
  let start = -1;
  const words = wordsOf(found, intended, built);
  for (let i = from; i < to; i++) {
    // Nearly all bytes are as built: four at a time.
    if (words !== undefined && start < 0 && (i & 3) === 0) {
      const first = i;
      for (let word = i >> 2; i + 4 <= to; i += 4, word++) {
        const held = words.found[word];
        if (held !== words.intended[word] || held !== words.built[word]) break;
      }
      same += i - first;
      if (i >= to) break;
    }
    const byte = found[i];
    if (byte === intended[i]) {
      if (byte === built[i]) same++;
      else {
        patched++;
        byMechanism[credit[i]]++;
      }
      if (start >= 0) {
        runs.push({ region, start, length: i - start });
        start = -1;
      }
    } else if (credit[i] === UNJUDGED) {
      counts.absent++;
      if (start >= 0) runs.push({ region, start, length: i - start });
      start = -1;
    } else if (start < 0) start = i;
  }
  if (start >= 0) runs.push({ region, start, length: to - start });
  counts.built += same;
  counts.patched += patched;
}

interface Words {
  readonly found: Int32Array;
  readonly intended: Int32Array;
  readonly built: Int32Array;
}

/** The three layers as words; undefined where one begins in the middle of a word. */
function wordsOf(found: Uint8Array, intended: Uint8Array, built: Uint8Array): Words | undefined {
  const words = (bytes: Uint8Array): Int32Array | undefined =>
    bytes.byteOffset % 4 === 0 ? new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : undefined;
  const [one, two, three] = [words(found), words(intended), words(built)];
  return one && two && three && { found: one, intended: two, built: three };
}
