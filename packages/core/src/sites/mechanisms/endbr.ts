// ENDBR sealing: functions whose address is never taken lose their ENDBR64, so that IBT stops calls to them
// (apply_seal_endbr() in arch/x86/kernel/alternative.c, since 5.18).
import { fromKernelOffset } from "../../bytes/brand.ts";
import { hexBytes } from "../../x86/encode.ts";
import { findSiteTable, findTable, type Mechanism, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
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

/** What sealed functions hold: how many of them one of the two forms, and how many of these the new one. */
export interface PoisonVotes {
  readonly seen: number;
  readonly nopl: number;
}

const MOST_VOTES = 256;

export function poisonVotes(context: SiteContext): PoisonVotes {
  let seen = 0;
  let nopl = 0;
  for (const at of sealedPlaces(context)) {
    if (seen === MOST_VOTES) break;
    if (context.space.find(at, LENGTH) === undefined) continue;
    const found = context.kernel.memory.tryRead(fromKernelOffset(at), LENGTH);
    if (found === undefined) continue;
    const isNew = same(found, POISON_NOPL);
    if (!isNew && !same(found, POISON_NOPW)) continue;
    seen++;
    if (isNew) nopl++;
  }
  return { seen, nopl };
}

export function poisonOfVotes({ seen, nopl }: PoisonVotes): Uint8Array {
  return nopl * 2 > seen ? POISON_NOPL : POISON_NOPW;
}

/** gen_endbr_poison() of this kernel: a module may have one sealed function, and that one overwritten, so all objects tell. */
export function poisonOf(context: SiteContext): Uint8Array {
  return context.era?.poison ?? poisonOfVotes(poisonVotes(context));
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
  const poison = poisonOf(context);
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
