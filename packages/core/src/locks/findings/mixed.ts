// lock.mixed: one lock type is taken by one implementation and released by another. Told by what the sites of both sides run
// in the dump's own bytes.
import { formatAddress, fromKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { AffectedLock, LockMixed, LockSide } from "../../results/types.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockSite } from "../code/lock-sites.ts";
import type { LockSlot } from "../code/slots.ts";
import type { LockState } from "../lock-state.ts";
import { type AuditedObject, type Implementation, takes } from "../types.ts";
import { type AffectedContext, affectedLocks } from "./affected-locks.ts";
import { loadedAfter } from "./late-write.ts";
import { codeOf, countBy, inObjects, nameAt, patchedTo, placesOf, siteCount } from "./site-facts.ts";

export interface MixedInput {
  readonly kernel: Kernel;
  readonly slots: readonly LockSlot[];
  readonly sites: readonly LockSite[];
  /** sites that hold an older value of their slot */
  readonly before: ReadonlySet<LockSite>;
  readonly objects: readonly AuditedObject[];
  readonly implementations: Implementations;
  readonly state: LockState;
}

/**
 * What is compared: the family; and for code of no known family, which value of its slot it is: functions that stood in the
 * slots at one time belong together, functions of different times do not.
 */
function kindOf(site: LockSite, before: ReadonlySet<LockSite>): string | undefined {
  const family = site.implementation?.family;
  if (family === undefined || family === "none") return undefined;
  if (family !== "unknown") return family;
  if (before.has(site)) return "unknown, before";
  return site.how === "call" && site.target !== site.slot.target ? undefined : "unknown, now";
}

interface Side {
  readonly kind: string;
  readonly sites: LockSite[];
}

function sidesOf(sites: readonly LockSite[], before: ReadonlySet<LockSite>): Side[] {
  const groups = new Map<string, Side>();
  for (const site of sites) {
    const kind = kindOf(site, before);
    if (kind === undefined) continue;
    const group = groups.get(kind);
    if (group === undefined) groups.set(kind, { kind, sites: [site] });
    else group.sites.push(site);
  }
  return [...groups.values()];
}

/** The finding; undefined when every site that takes has the releases that belong to it, and no others. */
export function mixedLock(input: MixedInput): LockMixed | undefined {
  const { kernel, slots, sites, before } = input;
  const taking = sidesOf(
    sites.filter((site) => takes(site.slot.role)),
    before,
  );
  const releasing = sidesOf(
    sites.filter((site) => site.slot.role === "unlock"),
    before,
  );
  const kinds = new Set([...taking, ...releasing].map((side) => side.kind));
  if (kinds.size < 2 || taking.length === 0 || releasing.length === 0) return undefined;
  const conflicts = taking.flatMap((taken) =>
    releasing.filter((released) => released.kind !== taken.kind).map((released) => ({ taken, released })),
  );
  if (conflicts.length === 0) return undefined;
  // Of each conflicting pair the smaller side is the odd one: a module's few sites against the core's.
  const odd = [
    ...new Set(
      conflicts.flatMap(({ taken, released }) =>
        released.sites.length <= taken.sites.length || oddObjects(released).every((object) => object !== "vmlinux")
          ? released.sites
          : taken.sites,
      ),
    ),
  ].sort((a, b) => Number(a.object === "vmlinux") - Number(b.object === "vmlinux"));
  const { words, cpuWaits: waits } = input.state;
  const context: AffectedContext = { ...input, words, waits, conflict: (a, b) => conflicting(a, b) };
  const locks = affectedLocks(context, odd);
  const telling = new Set(locks[0]?.releasedAt.map((place) => place.replace(/ \([^)]*\)$/, "")) ?? []);
  const first = odd.find((site) => telling.has(nameAt(kernel, site.at))) ?? odd[0];
  const after = loadedAfter(kernel, sites, before);
  const [pair] = conflicts;
  return {
    id: "lock.mixed",
    severity: "error",
    address: formatAddress(fromKernelOffset(first.at)),
    length: first.length,
    object: first.object,
    symbol: nameAt(kernel, first.at),
    title: titleOf(locks, pair.taken, pair.released),
    notes: notesOf(input, taking, releasing, locks, after),
    takers: taking.flatMap((side) => sideFacts(kernel, side)),
    releasers: releasing.flatMap((side) => sideFacts(kernel, side)),
    locks,
    slots: slots.map((slot) => ({
      name: slot.name,
      value: slot.symbol,
      address: formatAddress(fromKernelOffset(slot.offset)),
    })),
    modulesAfter: after,
  };
}

const oddObjects = (side: Side): string[] => [...new Set(side.sites.map((site) => site.object))];

function conflicting(taken: Implementation, released: Implementation): boolean {
  if (taken.family === "none" || released.family === "none") return false;
  return taken.family !== released.family;
}

/** One fact a function, since one family may run several. */
function sideFacts(kernel: Kernel, side: Side): LockSide[] {
  const groups = new Map<string, LockSite[]>();
  for (const site of side.sites) {
    const group = groups.get(codeOf(site));
    if (group === undefined) groups.set(codeOf(site), [site]);
    else group.push(site);
  }
  return [...groups].map(([code, sites]) => ({
    implementation: sites[0].implementation?.name ?? "",
    family: sites[0].implementation?.family ?? "unknown",
    function: sites[0].implementation?.evidence === "inlined code" ? "inlined code" : code,
    sites: sites.length,
    byObject: countBy(sites, (site) => site.object),
    places: placesOf(kernel, sites),
  }));
}

function titleOf(locks: readonly AffectedLock[], taken: Side, released: Side): string {
  const [lock] = locks;
  if (lock !== undefined) return `${lock.name} is taken by ${lock.takenBy} and released by ${lock.releasedBy}`;
  return `spinlocks are taken by ${codeOf(taken.sites[0])} and released by ${codeOf(released.sites[0])}`;
}

function notesOf(
  input: MixedInput,
  taking: readonly Side[],
  releasing: readonly Side[],
  locks: readonly AffectedLock[],
  after: readonly string[],
): string[] {
  const notes = locks.flatMap(lockNotes);
  const text = (side: Side): string => {
    const name = side.sites[0].implementation?.name ?? side.kind;
    const codes = [...new Set(side.sites.map(codeOf))].join(", ");
    return `${name} (${codes}): ${inObjects(countBy(side.sites, (site) => site.object))}`;
  };
  notes.push(`Sites that take: ${taking.map(text).join("; ")}.`);
  notes.push(`Sites that release: ${releasing.map(text).join("; ")}.`);
  notes.push(...changeNotes(input, after));
  return notes;
}

/** "pv_lock_ops was changed …": the slots' values at patch time, as the sites show them, and now. */
function changeNotes({ slots, sites, before, implementations }: MixedInput, after: readonly string[]): string[] {
  const notes: string[] = [];
  for (const group of new Set(slots.map((slot) => slot.group))) {
    const old = [...before].filter((site) => site.slot.group === group);
    if (old.length === 0) continue;
    const changed = slots.filter((slot) => old.some((site) => site.slot === slot));
    const was = (slot: LockSlot): string =>
      [...new Set(old.filter((site) => site.slot === slot).map((site) => patchedTo(site, implementations)))].join(", ");
    const objects = inObjects(countBy(old, (site) => site.object));
    notes.push(
      `${group} was changed after ${siteCount(old.length)} (${objects}) had been patched from it: ${changed
        .map((slot) => `${slot.member} ${was(slot)} → ${slot.symbol}`)
        .join("; ")}.`,
    );
    const newer = sites.filter((site) => site.slot.group === group && changed.includes(site.slot) && !before.has(site));
    if (newer.length > 0) {
      notes.push(`Patched after the change: ${inObjects(countBy(newer, (site) => site.object))}.`);
    }
  }
  if (after.length > 0) notes.push(`Loaded after the change: ${after.join(", ")}.`);
  return notes;
}

function lockNotes(lock: AffectedLock): string[] {
  const waiting = lock.waiting.map((each) => {
    const ticket = each.ticket === undefined ? "" : ` with ticket ${each.ticket}`;
    return `CPU ${each.cpu}${each.task === "" ? "" : `, ${each.task},`} waits${ticket} in ${each.function}`;
  });
  const fields = Object.entries(lock.fields)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  return [
    `${lock.name} at ${lock.address.slice(2)} holds ${lock.bytes} (${fields}): ${lock.meaning}.`,
    ...(lock.stuck ? [`It can never be granted again: ${lock.why}.`] : []),
    ...(!lock.stuck && lock.why !== undefined ? [`It is not granted: ${lock.why}.`] : []),
    ...(waiting.length > 0 ? [`${waiting.join("; ")}.`] : []),
    `Taken in ${lock.takenAt.join(", ")}.`,
    `Released in ${lock.releasedAt.join(", ")}.`,
  ];
}
