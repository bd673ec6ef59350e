// What the sites of each role run now, for people: role, implementation, function, sites by object.
import { toKernelOffset } from "../../bytes/brand.ts";
import type { ImplementationFact } from "../../results/lock-results.ts";
import type { LockSurvey } from "../findings/lock-survey.ts";
import { codeOf, countBy } from "../findings/site-facts.ts";
import { takes } from "../types.ts";
import type { LockSite } from "./lock-sites.ts";

const ROLES = ["lock", "trylock", "unlock", "wait", "kick"];

/** What the sites of each role run; without paravirt lock slots, what the out-of-line functions are. */
export function implementationFacts({ slots, sites, state }: LockSurvey): ImplementationFact[] {
  const out: ImplementationFact[] = [];
  for (const role of ROLES) {
    const groups = new Map<string, LockSite[]>();
    for (const site of sites) {
      if (site.slot.role !== role || site.implementation === undefined) continue;
      const key = codeOf(site);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [site]);
      else group.push(site);
    }
    for (const [code, group] of groups) {
      const implementation = group[0].implementation?.name ?? "unknown";
      out.push({ role, implementation, function: code, byObject: countBy(group, (site) => site.object) });
    }
  }
  // Slots that only wait and kick (3.12 to 4.1) leave taking and releasing to the functions themselves.
  if (slots.some((slot) => takes(slot.role))) return out;
  for (const [role, name] of [
    ["lock", "_raw_spin_lock"],
    ["trylock", "_raw_spin_trylock"],
    ["unlock", "_raw_spin_unlock"],
  ] as const) {
    const address = state.kernel.find(name);
    const offset = address === undefined ? undefined : toKernelOffset(address);
    if (offset === undefined) continue;
    const { name: implementation } = state.implementations.of(offset, role);
    out.push({ role, implementation, function: name, byObject: {} });
  }
  return out;
}
