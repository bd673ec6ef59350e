// slot.late-write: a slot that was changed after the sites which call through it had been patched. A patched site does not
// read its slot any more, so that the write reaches only what is patched later: modules.
import { formatAddress, fromKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { SlotLateWrite } from "../../results/types.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockSite } from "../code/lock-sites.ts";
import type { LockSlot } from "../code/slots.ts";
import { countBy, inObjects, patchedTo, placesOf, siteCount, thousands } from "./site-facts.ts";

/** A module or the core counts as patched before the change when this part of its sites of the slot disagrees with it. */
const MOST = 0.9;

/** True when the site's own bytes run something else than its slot holds now. */
export function disagrees(site: LockSite): boolean {
  const { slot } = site;
  if (slot.value === undefined || slot.role === "preempted") return false;
  const now = slot.implementation;
  if (site.how === "call") {
    // Through a thunk, or with call depth accounting in front, it is the same function all the same.
    return site.target !== slot.target && (now === undefined || site.implementation?.code !== now.code);
  }
  if (site.how !== "inlined" || site.implementation === undefined || now === undefined) return false;
  if (site.implementation.family === "none") return now.family !== "none" && slot.target !== undefined;
  return (
    site.implementation.family !== now.family || (now.evidence === "code" && now.code !== site.implementation.code)
  );
}

/**
 * Sites that hold an older value of their slots. One odd site among many is no late write but a stale or damaged site, which
 * the audit tells: all of an object's sites of the slot must disagree, and hold code that is known to serve in its role.
 */
export function sitesPatchedBefore(sites: readonly LockSite[]): Set<LockSite> {
  const groups = new Map<string, LockSite[]>();
  for (const site of sites) {
    if (site.how === "absent" || site.how === "none") continue;
    const key = `${site.object}|${site.slot.name}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [site]);
    else group.push(site);
  }
  const out = new Set<LockSite>();
  for (const group of groups.values()) {
    const old = group.filter(disagrees);
    if (old.length === 0 || old.length < group.length * MOST) continue;
    if (group.length === 1 && !isLockCode(old[0])) continue;
    for (const site of old) out.add(site);
  }
  return out;
}

function isLockCode(site: LockSite): boolean {
  const { implementation } = site;
  return implementation !== undefined && implementation.family !== "unknown" && site.how !== "absent";
}

/** Modules in the order in which they were loaded; the list `modules` has the newest first. */
function inLoadOrder(kernel: Kernel): string[] {
  return kernel.modules.map((module) => module.name).reverse();
}

/** Modules that were loaded after the change, as far as their sites or their neighbours in load order tell. */
export function loadedAfter(kernel: Kernel, sites: readonly LockSite[], before: ReadonlySet<LockSite>): string[] {
  const order = inLoadOrder(kernel);
  const slots = new Set([...before].map((site) => site.slot.name));
  const now = new Set<string>();
  for (const site of sites) {
    if (!slots.has(site.slot.name) || before.has(site)) continue;
    if ((site.how === "call" || site.how === "inlined") && site.object !== "vmlinux") now.add(site.object);
  }
  const first = order.findIndex((name) => now.has(name));
  return first < 0 ? [] : order.slice(first);
}

/** One finding a slot. */
export function lateWrites(
  kernel: Kernel,
  slots: readonly LockSlot[],
  sites: readonly LockSite[],
  before: ReadonlySet<LockSite>,
  implementations: Implementations,
): SlotLateWrite[] {
  const after = loadedAfter(kernel, sites, before);
  return slots.flatMap((slot) => {
    const own = sites.filter((site) => site.slot === slot);
    const old = own.filter((site) => before.has(site));
    if (old.length === 0) return [];
    const current = own.filter((site) => (site.how === "call" || site.how === "inlined") && !before.has(site));
    const held = countBy(old, (site) => patchedTo(site, implementations));
    const names = Object.keys(held).join(", ");
    const byObject = countBy(old, (site) => site.object);
    const notes = [
      `${siteCount(old.length)} (${inObjects(byObject)}) still run ${names}: patched before the slot was changed.`,
    ];
    if (current.length > 0) {
      const where = inObjects(countBy(current, (site) => site.object));
      notes.push(`${siteCount(current.length)} (${where}) run ${slot.symbol}: patched after it.`);
    }
    notes.push("A patched site does not read its slot any more: the write reached only what was patched later.");
    const address = formatAddress(fromKernelOffset(slot.offset));
    return [
      {
        id: "slot.late-write" as const,
        severity: "error" as const,
        address,
        length: 8,
        object: "vmlinux",
        symbol: slot.name,
        title: `${slot.name} holds ${slot.symbol}, but ${thousands(old.length)} ${old.length === 1 ? "site was" : "sites were"} patched to ${names} before it was changed`,
        notes,
        slot: { name: slot.name, value: slot.symbol, address },
        patchedTo: held,
        sites: { before: byObject, after: countBy(current, (site) => site.object) },
        modulesAfter: after,
        places: placesOf(kernel, old),
      },
    ];
  });
}
