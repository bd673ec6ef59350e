// A built layer that was moved by a relocation table with holes: the places that it does not name hold what was built plus
// the distance of the move. That is no damage of the dump, and no account can be made over such a layer.
import { toKernelOffset } from "../bytes/brand.ts";
import { getI32 } from "../x86/encode.ts";
import type { ObjectAudit } from "./object-audit.ts";

/** Fewer such places may be what somebody wrote. */
const FEWEST = 16;
/** The share of the foreign places beside sites. */
const MIN_SHARE = 0.5;

/**
 * How many places hold their built address plus `distance`; undefined when they are few.
 * @param distance bytes by which the object was moved
 */
export function unmovedPlaces(object: ObjectAudit, distance: number): number | undefined {
  if (distance === 0) return undefined;
  let all = 0;
  let unmoved = 0;
  for (const finding of object.findings) {
    if (finding.id !== "text.foreign" || finding.site !== undefined) continue;
    all++;
    const offset = toKernelOffset(BigInt(finding.address));
    if (offset === undefined) continue;
    const region = object.replayed.space.find(offset);
    const bytes = region && object.found.get(region)?.bytes;
    if (region === undefined || bytes === undefined) continue;
    const index = offset - region.start;
    // A difference of whole MiB shows in the upper bytes of the word.
    for (let at = Math.max(0, index - 3); at <= index && at + 4 <= bytes.length; at++) {
      if (getI32(bytes, at) - getI32(region.intended, at) === (distance | 0)) {
        unmoved++;
        break;
      }
    }
  }
  return unmoved >= FEWEST && unmoved >= MIN_SHARE * all ? unmoved : undefined;
}
