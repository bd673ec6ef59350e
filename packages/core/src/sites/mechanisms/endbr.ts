// ENDBR sealing: functions whose address is never taken lose their ENDBR64, so that IBT stops calls to them
// (apply_seal_endbr() in arch/x86/kernel/alternative.c, since 5.18).
import { fromKernelOffset } from "../../bytes/brand.ts";
import { hexBytes } from "../../x86/encode.ts";
import { findSiteTable, findTable, type Mechanism, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import type { PatchState } from "../base/patch-state.ts";
import { SiteArrays } from "../base/site.ts";

const LENGTH = 4;
export const ENDBR64 = Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa);
/** gen_endbr_poison(): `nopw (%rax)`, 5.18 and newer */
const POISON_NOPW = Uint8Array.of(0x66, 0x0f, 0x1f, 0x00);
/** `nopl -42(%rax)`: 6.15 and newer, told from the old one by what most sites of the dump hold */
const POISON_NOPL = Uint8Array.of(0x0f, 0x1f, 0x40, 0xd6);

const same = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);

/** The sealed functions of the object. */
export function sealedPlaces(context: SiteContext): Uint32Array {
  const table = findTable(context.object, ".ibt_endbr_seal", "__ibt_endbr_seal", "__ibt_endbr_seal_end");
  return table === undefined ? new Uint32Array() : placesOf(table);
}

/** What the sealed functions of the objects that were looked at so far hold: above 0 for nopw, below for nopl. */
const votesOf = new WeakMap<PatchState, number>();

/**
 * gen_endbr_poison() of this kernel. All objects of one audit vote together, the core first: a module may have but one
 * sealed function, and that one may be what was overwritten.
 */
export function poisonOf(context: SiteContext, places: Uint32Array): Uint8Array {
  let votes = votesOf.get(context.state) ?? 0;
  for (let i = 0, seen = 0; i < places.length && seen < 256; i++) {
    if (context.space.find(places[i], LENGTH) === undefined) continue;
    const found = context.kernel.memory.tryRead(fromKernelOffset(places[i]), LENGTH);
    if (found === undefined) continue;
    seen++;
    if (same(found, POISON_NOPW)) votes++;
    else if (same(found, POISON_NOPL)) votes--;
  }
  votesOf.set(context.state, votes);
  return votes < 0 ? POISON_NOPL : POISON_NOPW;
}

export const applyEndbrSealing: Mechanism = (context) => {
  const table = findSiteTable(
    context,
    { mechanism: "endbr", size: 4 },
    ".ibt_endbr_seal",
    "__ibt_endbr_seal",
    "__ibt_endbr_seal_end",
  );
  if (table === undefined) return undefined;
  const { space } = context;
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const id = mechanismId("endbr");
  const poison = poisonOf(context, places);
  for (let i = 0; i < places.length; i++) {
    sites.add(places[i], LENGTH);
    const current = space.read(places[i], LENGTH);
    if (current !== undefined && same(current, ENDBR64)) space.write(places[i], poison, id);
  }
  return {
    mechanism: "endbr",
    object: context.object.name,
    entries: places.length,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: () => ({
      slot: { name: "gen_endbr_poison()", value: hexBytes(poison) },
      reason: "the function is never called indirectly: its ENDBR64 is sealed",
      forms: [{ name: "ENDBR64 left as built", bytes: ENDBR64 }],
    }),
  };
};
