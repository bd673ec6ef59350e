// Words about lock sites that several findings share: names, places, counts by object.
import { formatAddress, fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { nameAddress } from "../../symbols/place.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockSite } from "../code/lock-sites.ts";

/** Places named in full in a finding; counts are exact beyond it. */
export const PLACES = 8;

/** "redo_fd_request+0x4da [floppy]" */
export function nameAt(kernel: Kernel, at: KernelOffset): string {
  return nameAddress(kernel.allSymbols, fromKernelOffset(at));
}

export function placesOf(kernel: Kernel, sites: readonly LockSite[]): { address: string; symbol: string }[] {
  return sites
    .slice(0, PLACES)
    .map(({ at }) => ({ address: formatAddress(fromKernelOffset(at)), symbol: nameAt(kernel, at) }));
}

export function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}

/** "1,473 in vmlinux, 1 in floppy" */
export function inObjects(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([object, count]) => `${thousands(count)} in ${object}`)
    .join(", ");
}

/** 1473 → "1,473" */
export function thousands(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** "1 site", "1,473 sites" */
export function siteCount(count: number): string {
  return `${thousands(count)} site${count === 1 ? "" : "s"}`;
}

/** The function at the end of a site's thunks, or what is inlined there. */
export function codeOf(site: LockSite): string {
  const { implementation } = site;
  if (implementation === undefined) return "unknown code";
  if (implementation.evidence !== "inlined code") return implementation.code;
  return implementation.family === "none" ? "NOPs" : `inlined ${implementation.name} code`;
}

/** What was patched into a site: the function that its slot held then, thunks and all. */
export function patchedTo(site: LockSite, implementations: Implementations): string {
  return site.how === "call" && site.target !== undefined ? implementations.nameOf(site.target) : codeOf(site);
}
