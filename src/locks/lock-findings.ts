// What is wrong with a kernel's spinlocks as its sites were patched: slots that were changed after the sites that use them
// (slot.late-write), and a lock type that is taken by one implementation and released by another (lock.mixed).
import { formatAddress, fromKernelOffset, type KernelOffset, toKernelOffset, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { AffectedLock, LockMixed, LockSide, SlotLateWrite } from "../findings/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Implementations } from "./implementation.ts";
import { type LockSite, lockSitesOf } from "./lock-sites.ts";
import { callOperands } from "./operands.ts";
import { type LockSlot, readLockSlots } from "./slots.ts";
import { SpinlockWords } from "./spinlock-word.ts";
import { type AuditedObject, type LockFamily, takes } from "./types.ts";

/** Places named in full in a finding; counts are exact beyond it. */
const PLACES = 8;
/** Functions whose lock operands are followed. */
const MAX_FUNCTIONS = 64;
const MAX_FUNCTION = 1 << 16;

/** All findings about spinlock implementations. Empty for a kernel without paravirt lock slots. */
export function lockFindings(kernel: Kernel, objects: readonly AuditedObject[]): (LockMixed | SlotLateWrite)[] {
  const implementations = new Implementations(kernel);
  const slots = readLockSlots(kernel, implementations);
  if (slots.length === 0) return [];
  const sites = objects.flatMap((object) => lockSitesOf(kernel, object, slots, implementations));
  const late = slots.flatMap((slot) => lateWrite(kernel, slot, sites) ?? []);
  const mixed = mixedLock(kernel, slots, sites, objects, implementations);
  return mixed === undefined ? late : [mixed, ...late];
}

/** True when the site's own bytes run something else than its slot holds now. */
function disagrees(site: LockSite): boolean {
  const { slot } = site;
  if (slot.value === undefined) return false;
  if (site.how === "call") return site.target !== slot.target;
  if (site.how !== "inlined" || site.implementation === undefined || slot.implementation === undefined) return false;
  const [here, now] = [site.implementation.family, slot.implementation.family];
  return here !== "none" && here !== "unknown" && now !== "none" && now !== "unknown" && here !== now;
}

const codeOf = (site: LockSite): string => site.implementation?.code ?? "unknown code";

function countBy(sites: readonly LockSite[], key: (site: LockSite) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const site of sites) counts[key(site)] = (counts[key(site)] ?? 0) + 1;
  return counts;
}

/** "1,473 in vmlinux, 1 in floppy" */
function inObjects(sites: readonly LockSite[]): string {
  return Object.entries(countBy(sites, (site) => site.object))
    .map(([object, count]) => `${count} in ${object}`)
    .join(", ");
}

function places(kernel: Kernel, sites: readonly LockSite[]): { address: string; symbol: string }[] {
  return sites.slice(0, PLACES).map(({ at }) => ({
    address: formatAddress(fromKernelOffset(at)),
    symbol: nameAt(kernel, at),
  }));
}

function nameAt(kernel: Kernel, at: KernelOffset): string {
  const near = kernel.allSymbols.nearest(fromKernelOffset(at));
  if (near === undefined) return formatAddress(fromKernelOffset(at));
  const module = near.symbol.module === undefined ? "" : ` [${near.symbol.module}]`;
  return `${near.symbol.name}${near.offset === 0 ? "" : `+0x${near.offset.toString(16)}`}${module}`;
}

function lateWrite(kernel: Kernel, slot: LockSlot, all: readonly LockSite[]): SlotLateWrite | undefined {
  const own = all.filter((site) => site.slot === slot);
  const old = own.filter(disagrees);
  if (old.length === 0) return undefined;
  const current = own.filter((site) => (site.how === "call" || site.how === "inlined") && !disagrees(site));
  const after = [...new Set(current.map((site) => site.object))].filter((object) => object !== "vmlinux");
  const held = countBy(old, codeOf);
  const names = Object.keys(held).join(", ");
  const notes = [
    `${old.length} sites (${inObjects(old)}) still run ${names}: they were patched before the slot changed.`,
  ];
  if (current.length > 0)
    notes.push(`${current.length} sites (${inObjects(current)}) run ${slot.symbol}: they were patched after it.`);
  if (after.length > 0) notes.push(`Loaded after the change: ${after.join(", ")}.`);
  notes.push("Patched sites do not read the slot any more; a write to it reaches only what is patched later.");
  return {
    id: "slot.late-write",
    severity: "error",
    address: formatAddress(fromKernelOffset(slot.offset)),
    length: 8,
    object: "vmlinux",
    symbol: slot.name,
    title: `${slot.name} holds ${slot.symbol}, but ${old.length} sites were patched to ${names} before`,
    notes,
    slot: { name: slot.name, value: slot.symbol, address: formatAddress(fromKernelOffset(slot.offset)) },
    patchedTo: held,
    sites: { before: countBy(old, (site) => site.object), after: countBy(current, (site) => site.object) },
    modulesAfter: after,
    places: places(kernel, old),
  };
}

/** Families that the sites of one side run, without what cannot be told. */
function sides(kernel: Kernel, sites: readonly LockSite[]): LockSide[] {
  const groups = new Map<string, LockSite[]>();
  for (const site of sites) {
    const { implementation } = site;
    if (implementation === undefined || implementation.family === "unknown" || implementation.family === "none")
      continue;
    const group = groups.get(implementation.code);
    if (group === undefined) groups.set(implementation.code, [site]);
    else group.push(site);
  }
  return [...groups.values()].map((group) => ({
    implementation: group[0].implementation?.name ?? "",
    family: group[0].implementation?.family ?? "unknown",
    function: codeOf(group[0]),
    sites: group.length,
    byObject: countBy(group, (site) => site.object),
    places: places(kernel, group),
  }));
}

/** "ticket (__ticket_spin_lock, 31 sites: 31 in vmlinux)" */
function sideText(side: LockSide): string {
  const where = Object.entries(side.byObject)
    .map(([object, count]) => `${count} in ${object}`)
    .join(", ");
  return `${side.function} (${side.implementation}; ${where})`;
}

function mixedLock(
  kernel: Kernel,
  slots: readonly LockSlot[],
  sites: readonly LockSite[],
  objects: readonly AuditedObject[],
  implementations: Implementations,
): LockMixed | undefined {
  const takers = sides(
    kernel,
    sites.filter((site) => takes(site.slot.role)),
  );
  const releasers = sides(
    kernel,
    sites.filter((site) => site.slot.role === "unlock"),
  );
  const taken = new Set(takers.map((side) => side.family));
  const foreign = releasers.filter((side) => !taken.has(side.family as LockFamily) || taken.size > 1);
  if (foreign.length === 0) return undefined;
  if (new Set([...takers, ...releasers].map((side) => side.family)).size < 2) return undefined;
  const odd = sites.filter(
    (site) => site.slot.role === "unlock" && foreign.some((side) => side.function === codeOf(site)),
  );
  const locks = affectedLocks(kernel, objects, odd, implementations);
  const unlockSlot = slots.find((slot) => slot.role === "unlock" && !slot.staticCall) ?? slots[0];
  const lockSlot = slots.find((slot) => slot.role === "lock" && !slot.staticCall);
  const notes = [
    `Taken by ${takers.map(sideText).join("; ")}.`,
    `Released by ${releasers.map(sideText).join("; ")}.`,
    `Now ${[lockSlot, unlockSlot].flatMap((slot) => (slot === undefined ? [] : [`${slot.name} holds ${slot.symbol}`])).join(", ")}.`,
    ...locks.map(lockText),
  ];
  const first = odd[0] ?? sites[0];
  return {
    id: "lock.mixed",
    severity: "error",
    address: formatAddress(fromKernelOffset(first.at)),
    length: first.length,
    object: first.object,
    symbol: nameAt(kernel, first.at),
    title: `${locks[0]?.name ?? "spinlocks"} taken as ${[...taken].join(" and ")}, released as ${[...new Set(foreign.map((side) => side.family))].join(" and ")}`,
    notes,
    takers,
    releasers,
    locks,
    slots: slots.map((slot) => ({
      name: slot.name,
      value: slot.symbol,
      address: formatAddress(fromKernelOffset(slot.offset)),
    })),
  };
}

function lockText(lock: AffectedLock): string {
  const stuck = lock.stuck ? " This word can never be granted again." : "";
  return `${lock.name} at ${lock.address.slice(2)}: ${lock.bytes} — as ${lock.takenBy}: ${lock.meaning}.${stuck} Taken by ${lock.takenAt.join(", ") || "no site that could be followed"}; released by ${lock.releasedAt.join(", ")}.`;
}

interface Bounds {
  readonly start: bigint;
  readonly bytes: Uint8Array;
}

function functionAround(kernel: Kernel, at: KernelOffset): Bounds | undefined {
  const near = kernel.allSymbols.nearest(fromKernelOffset(at));
  if (near?.size === undefined || near.size > MAX_FUNCTION) return undefined;
  const bytes = kernel.memory.tryRead(near.symbol.address, near.size);
  return bytes && { start: near.symbol.address, bytes };
}

/** The lock objects that the odd releases work on, and who takes these in the same module. */
function affectedLocks(
  kernel: Kernel,
  objects: readonly AuditedObject[],
  odd: readonly LockSite[],
  implementations: Implementations,
): AffectedLock[] {
  const released = new Map<bigint, LockSite[]>();
  const modules = new Set<string>();
  for (const site of odd.slice(0, MAX_FUNCTIONS)) {
    const around = functionAround(kernel, site.at);
    if (around === undefined) continue;
    const address = fromKernelOffset(site.at);
    const operand = callOperands(around.bytes, around.start, new Set([address])).find((each) => each.at === address);
    if (operand?.rdi === undefined || toKernelOffset(operand.rdi) === undefined) continue;
    released.set(operand.rdi, [...(released.get(operand.rdi) ?? []), site]);
    modules.add(site.object);
  }
  if (released.size === 0) return [];
  const taken = takersOf(kernel, objects, modules, new Set(released.keys()), implementations);
  const words = new SpinlockWords(kernel, implementations);
  const out: AffectedLock[] = [];
  for (const [lock, releases] of released) {
    const address = virtualAddress(lock);
    const name = nameAt(kernel, toKernelOffset(lock) ?? 0);
    // Without a taker that could be followed, the core's own out-of-line functions tell how locks are taken.
    const family = taken.get(lock)?.family ?? words.family;
    try {
      const word = words.decode(address, family);
      if (word === undefined) continue;
      const head = Number(word.fields.head);
      const tail = Number(word.fields.tail);
      out.push({
        name,
        address: formatAddress(lock),
        bytes: word.bytes,
        takenBy: family,
        meaning: word.meaning,
        fields: word.fields,
        stuck: Number.isFinite(head) && head !== tail,
        takenAt: [...new Set(taken.get(lock)?.at ?? [])].slice(0, PLACES),
        releasedAt: releases.slice(0, PLACES).map((site) => nameAt(kernel, site.at)),
      });
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
    }
  }
  return out;
}

/** Calls of the modules' code that take one of the locks: `call _raw_spin_lock_irq` with the lock's address in %rdi. */
function takersOf(
  kernel: Kernel,
  objects: readonly AuditedObject[],
  modules: ReadonlySet<string>,
  locks: ReadonlySet<bigint>,
  implementations: Implementations,
): Map<bigint, { family: LockFamily; at: string[] }> {
  const out = new Map<bigint, { family: LockFamily; at: string[] }>();
  for (const object of objects) {
    // The core is too large to follow every function of; its own locks are told by the releases alone.
    if (!modules.has(object.name) || object.name === "vmlinux") continue;
    const functions = new Set<bigint>();
    for (const [region] of object.found) {
      for (let at = region.start; at < region.start + region.built.length; ) {
        const near = kernel.allSymbols.nearest(fromKernelOffset(at));
        if (near?.size === undefined || near.size <= 0) {
          at += 16;
          continue;
        }
        functions.add(near.symbol.address);
        at = at - near.offset + Math.max(1, near.size);
      }
    }
    for (const start of functions) {
      const around = functionAround(kernel, toKernelOffset(start) ?? 0);
      if (around === undefined) continue;
      for (const operand of callOperands(around.bytes, around.start)) {
        if (operand.target === undefined || operand.rdi === undefined || !locks.has(operand.rdi)) continue;
        const implementation = implementations.of(operand.target, "lock");
        const name = kernel.symbols.at(fromKernelOffset(operand.target))[0]?.name ?? "";
        if (!/spin_(try)?lock/.test(name) && implementation.family === "unknown") continue;
        if (/unlock/.test(name)) continue;
        const place = `${nameAt(kernel, toKernelOffset(operand.at) ?? 0)} (${name || implementation.code})`;
        const known = out.get(operand.rdi);
        if (known === undefined) out.set(operand.rdi, { family: implementation.family, at: [place] });
        else known.at.push(place);
      }
    }
  }
  return out;
}
