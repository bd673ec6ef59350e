// Which pairs of lock and unlock code a dump's sites form: one representative of every implementation that takes and of every
// one that releases. A handful, not thousands: sites of one implementation run the same code.
import { formatAddress, fromKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { LockSite } from "../../locks/code/lock-sites.ts";
import { codeOf, nameAt } from "../../locks/findings/site-facts.ts";
import type { LockFamily } from "../../locks/types.ts";
import { placeArgument, placeOf } from "../../symbols/place.ts";
import type { PairEnd } from "./from-dump.ts";

/** One side of a pair: an implementation with the code that stands for it. */
export interface PairSide {
  readonly family: LockFamily;
  /** The function that does the work, or what is inlined: "__ticket_spin_lock", "inlined native queued code". */
  readonly code: string;
  /** Where the run begins: a whole function that takes the lock's address, or the site itself. */
  readonly end: PairEnd;
  /** "_raw_spin_lock", "redo_fd_request+0x4ea [floppy]" */
  readonly name: string;
  /** how a user writes that place: "floppy:redo_fd_request+0x4ea" */
  readonly where: string;
  readonly sites: number;
  /** The site itself, for findings. */
  readonly first: LockSite;
}

export interface SitePair {
  readonly lock: PairSide;
  readonly unlock: PairSide;
  /** The two sides are known to be of different implementations. */
  readonly mixed: boolean;
  /** The two sides are known to be of one. */
  readonly matching: boolean;
}

const MAX_PAIRS = 12;
/** Out-of-line functions of kernel/locking/spinlock.c that take one argument, the lock, and do nothing else: as they are preferred. */
const WHOLE_LOCKS = ["_raw_spin_lock", "_raw_spin_lock_irq", "_raw_spin_lock_bh", "_spin_lock", "_spin_lock_irq"];

/** Where the core releases out of line: what runs most, and not the first function of the text that happens to. */
const WHOLE_UNLOCKS = [
  "_raw_spin_unlock",
  "_raw_spin_unlock_irqrestore",
  "_raw_spin_unlock_irq",
  "_raw_spin_unlock_bh",
].flatMap((name) => [name, name.replace("_raw", "")]);

/** All pairs, the matching ones first. Empty for a kernel without lock sites. */
export function sitePairs(kernel: Kernel, sites: readonly LockSite[]): SitePair[] {
  const takers = sidesOf(kernel, sites, "lock");
  const releasers = sidesOf(kernel, sites, "unlock");
  const pairs = takers.flatMap((lock) =>
    releasers.map((unlock): SitePair => {
      const known = lock.family !== "unknown" && unlock.family !== "unknown";
      const same = lock.family === unlock.family;
      return { lock, unlock, mixed: known && !same, matching: known && same };
    }),
  );
  return pairs.sort((a, b) => Number(a.mixed) - Number(b.mixed)).slice(0, MAX_PAIRS);
}

function sidesOf(kernel: Kernel, sites: readonly LockSite[], role: "lock" | "unlock"): PairSide[] {
  const groups = new Map<string, LockSite[]>();
  for (const site of sites) {
    const family = site.implementation?.family;
    if (site.slot.role !== role || family === undefined || family === "none") continue;
    const key = family === "unknown" ? `unknown ${codeOf(site)}` : family;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [site]);
    else group.push(site);
  }
  return [...groups.values()].map((group) => sideOf(kernel, group, role));
}

/**
 * A lock is run from a whole function where one of the sites lies in one, since what is inlined around a site (the fast path
 * of queued locks) belongs to it; else from the function that the site calls, which takes the same argument. An unlock is run
 * from the site, which is all there is to it; one outside of the core first: that is the odd one.
 */
function sideOf(kernel: Kernel, group: readonly LockSite[], role: "lock" | "unlock"): PairSide {
  const { family } = group[0].implementation ?? { family: "unknown" };
  const common = { family, sites: group.length };
  if (role === "lock") {
    for (const name of WHOLE_LOCKS) {
      const address = kernel.find(name);
      const first = address && group.find((site) => contains(kernel, address, site));
      if (address && first) return { ...common, code: codeOf(first), end: { address }, name, where: name, first };
    }
    const called = group.find((site) => site.target !== undefined && site.how === "call");
    const target = called?.implementation?.address ?? called?.target;
    if (called !== undefined && target !== undefined) {
      const address = fromKernelOffset(target);
      const name = nameAt(kernel, target);
      return {
        ...common,
        code: codeOf(called),
        end: { address },
        name,
        where: whereOf(kernel, address),
        first: called,
      };
    }
  }
  const first =
    group.find((site) => site.object !== "vmlinux") ??
    WHOLE_UNLOCKS.map((name) => kernel.find(name))
      .flatMap((address) =>
        address === undefined ? [] : (group.find((site) => contains(kernel, address, site)) ?? []),
      )
      .at(0) ??
    group[0];
  const name = nameAt(kernel, first.at);
  return {
    ...common,
    code: codeOf(first),
    end: { address: fromKernelOffset(first.at), length: first.length },
    name,
    where: whereOf(kernel, fromKernelOffset(first.at)),
    first,
  };
}

function contains(kernel: Kernel, address: VirtualAddress, site: LockSite): boolean {
  const at = fromKernelOffset(site.at);
  const near = kernel.allSymbols.nearest(address);
  return at >= address && at < address + BigInt(near?.size ?? 0);
}

/** How a user writes that place: "floppy:redo_fd_request+0x4ea". */
function whereOf(kernel: Kernel, address: VirtualAddress): string {
  const place = placeOf(kernel.allSymbols, address);
  return place === undefined ? formatAddress(address) : placeArgument(place);
}
