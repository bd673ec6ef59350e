// Places that a relocation table left out hold their built address plus the distance of the move.
import { expect, it } from "vitest";
import { formatAddress, fromKernelOffset } from "../bytes/brand.ts";
import { PatchSpace, patchRegion } from "../sites/base/patch-space.ts";
import { unmovedPlaces } from "./misplaced.ts";
import type { ObjectAudit } from "./object-audit.ts";

const TEXT = 0x1000000;
const MOVE = 0x1e000000;

/** `unmoved` addresses of which only the highest byte differs, and `other` bytes that somebody wrote. */
function audited(unmoved: number, other: number): ObjectAudit {
  const built = new Uint8Array(16 * (unmoved + other));
  const view = new DataView(built.buffer);
  for (let i = 0; i < unmoved + other; i++) view.setInt32(i * 16 + 4, 0x81000000 + i * 16, true);
  const bytes = built.slice();
  for (let i = 0; i < unmoved + other; i++) bytes[i * 16 + 7] = i < unmoved ? 0x9f : 0x55;
  const region = patchRegion(".text", TEXT, built, true);
  const findings = Array.from({ length: unmoved + other }, (_, i) => ({
    id: "text.foreign",
    address: formatAddress(fromKernelOffset(TEXT + i * 16 + 7)),
    length: 1,
  }));
  const replayed = { space: new PatchSpace([region]) };
  return { findings, replayed, found: new Map([[region, { bytes, absent: [] }]]) } as unknown as ObjectAudit;
}

it.each<[string, ObjectAudit, number, number | undefined]>([
  ["a table that leaves out many", audited(40, 10), MOVE, 40],
  ["a kernel that was not moved", audited(40, 10), 0, undefined],
  ["another distance", audited(40, 10), MOVE + 0x200000, undefined],
  ["too few", audited(15, 0), MOVE, undefined],
  ["more that is something else: damage", audited(20, 30), MOVE, undefined],
])("%s", (_what, object, distance, count) => {
  expect(unmovedPlaces(object, distance)).toBe(count);
});
