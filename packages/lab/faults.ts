// Chooses faults for a dump by a seed: bytes changed at random, and sites that hold another form than their state calls
// for. Each says beforehand what the audit has to make of it.
import { SiteIndex } from "../core/src/audit/site-index.ts";
import { fromKernelOffset, toKernelOffset } from "../core/src/bytes/brand.ts";
import type { PatchRegion } from "../core/src/sites/base/patch-space.ts";
import type { SiteList } from "../core/src/sites/base/site.ts";
import { branch32, CALL, hexBytes, JMP32 } from "../core/src/x86/encode.ts";
import { isNops } from "../core/src/x86/equivalence.ts";
import type { Damage, OpenedDump } from "./damage.ts";

export interface Fault extends Damage {
  /** Offset of `address` from the kernel's base. */
  readonly offset: number;
  /** "one byte", or the mechanism and what its site is made to hold. */
  readonly what: string;
  /** "changed": foreign, or stale where the change happens to make another legal form of a site. */
  readonly expected: "changed" | "stale" | "equivalent";
  /** What the dump really holds there. */
  readonly held: Uint8Array;
}

/** A small generator of random numbers that is the same on every machine (mulberry32). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Faults in blocks of 64 bytes that touch no block of another: neighbours would explain each other's bytes. */
class Spread {
  private readonly taken = new Set<number>();

  take(start: number, end: number): boolean {
    const first = (start >> 6) - 1;
    const last = ((end - 1) >> 6) + 1;
    for (let block = first; block <= last; block++) if (this.taken.has(block)) return false;
    for (let block = first; block <= last; block++) this.taken.add(block);
    return true;
  }
}

interface Place {
  /** The object's name. */
  readonly object: string;
  readonly region: PatchRegion;
  readonly found: Uint8Array;
  readonly index: SiteIndex;
}

/** All audited code of the dump. */
function placesOf(opened: OpenedDump): Place[] {
  return opened.clean.objects.flatMap((object) => {
    const index = new SiteIndex(object.replayed.sites);
    return [...object.found]
      .filter(([, { absent }]) => absent.length === 0)
      .map(([region, { bytes }]) => ({ object: object.name, region, found: bytes, index }));
  });
}

/** `count` faults: one half one-byte faults, the other legal forms, as far as the dump has sites for them. */
export function chooseFaults(opened: OpenedDump, count: number, seed: number): Fault[] {
  const random = randomNumbers(seed);
  const spread = new Spread();
  const legal = legalFaults(opened, count >> 1, random, spread);
  return [...legal, ...byteFaults(opened, count - legal.length, random, spread)];
}

/** One-byte faults: half of them anywhere, the other half spread evenly over sections, since modules are small. */
function byteFaults(opened: OpenedDump, count: number, random: (below: number) => number, spread: Spread): Fault[] {
  const places = placesOf(opened);
  const total = places.reduce((sum, { found }) => sum + found.length, 0);
  const faults: Fault[] = [];
  for (let attempt = 0; attempt < count * 50 && faults.length < count; attempt++) {
    let at = attempt % 2 === 0 ? random(total) : -1;
    let place = places[random(places.length)];
    if (at < 0) at = random(place.found.length);
    else {
      for (place of places) {
        if (at < place.found.length) break;
        at -= place.found.length;
      }
    }
    const offset = place.region.start + at;
    const sites = place.index.covering(offset);
    const start = Math.min(offset, ...sites.map((site) => site.start));
    if (!spread.take(start, Math.max(offset + 1, ...sites.map((site) => site.start + site.length)))) continue;
    const held = place.found.subarray(at, at + 1);
    const bytes = Uint8Array.of(held[0] ^ (1 + random(255)));
    faults.push({ address: fromKernelOffset(offset), offset, bytes, held, what: "one byte", expected: "changed" });
  }
  return faults;
}

/** Sites made to hold another form; every mechanism in turn, a random object and site of it. */
function legalFaults(opened: OpenedDump, count: number, random: (below: number) => number, spread: Spread): Fault[] {
  const places = placesOf(opened);
  const lists = new Map<string, { list: SiteList; index: SiteIndex }[]>();
  for (const { replayed } of opened.clean.objects) {
    const index = new SiteIndex(replayed.sites);
    for (const list of replayed.sites) {
      // While the kernel itself changes sites of a list, another form of one is no fault.
      if (list.offsets.length === 0 || list.pending !== undefined) continue;
      lists.set(list.mechanism, [...(lists.get(list.mechanism) ?? []), { list, index }]);
    }
  }
  const mechanisms = [...lists.values()];
  const targets = functionStarts(opened);
  const faults: Fault[] = [];
  for (let attempt = 0; attempt < count * 50 && faults.length < count && mechanisms.length > 0; attempt++) {
    const choice = mechanisms[attempt % mechanisms.length];
    const { list, index } = choice[random(choice.length)];
    const site = random(list.offsets.length);
    const offset = list.offsets[site];
    const length = list.lengths[site];
    // Its own object's: what a module's freed init code left may point into another module by now.
    const place = places.find(
      ({ object, region }) =>
        object === list.object && offset >= region.start && offset + length <= region.start + region.built.length,
    );
    if (place === undefined || length === 0 || overlapped(index, offset, length)) continue;
    const at = offset - place.region.start;
    const held = place.found.subarray(at, at + length);
    if (hexBytes(held) !== hexBytes(place.region.intended.subarray(at, at + length))) continue;
    const forms = otherForms(
      list,
      site,
      held,
      place.region.built.subarray(at, at + length),
      () => targets[random(targets.length)],
    ).filter(({ bytes }) => bytes.length === length && hexBytes(bytes) !== hexBytes(held));
    if (forms.length === 0) continue;
    const form = forms[random(forms.length)];
    if (!spread.take(offset, offset + length)) continue;
    const expected = isNops(form.bytes) && isNops(held) ? "equivalent" : "stale";
    const what = `${list.mechanism}: ${form.kind}`;
    faults.push({ address: fromKernelOffset(offset), offset, bytes: form.bytes, held, what, expected });
  }
  return faults;
}

/** True when a site of other extent shares bytes: what one holds then depends on the other. */
function overlapped(index: SiteIndex, offset: number, length: number): boolean {
  for (let at = offset; at < offset + length; at++) {
    for (const hit of index.covering(at)) if (hit.start !== offset || hit.length !== length) return true;
  }
  return false;
}

function functionStarts(opened: OpenedDump): number[] {
  const regions = placesOf(opened).map(({ region }) => region);
  const out: number[] = [];
  for (const symbol of opened.kernel.symbols.all()) {
    const offset = /^[tT]$/.test(symbol.type) ? toKernelOffset(symbol.address) : undefined;
    if (offset === undefined) continue;
    if (regions.some(({ start, built }) => offset >= start && offset < start + built.length)) out.push(offset);
  }
  return out;
}

/** What a site may be made to hold: the forms of its mechanism, what was built, another target, another NOP. */
function otherForms(
  list: SiteList,
  site: number,
  held: Uint8Array,
  built: Uint8Array,
  target: () => number,
): { kind: string; bytes: Uint8Array }[] {
  const offset = list.offsets[site];
  const details = list.describe(site);
  const forms = details.forms.map(({ name, bytes }) => ({ kind: name.replace(/ to .*? \(/, " ("), bytes }));
  forms.push({ kind: "left as built", bytes: built });
  const branches = held.length === 5 && (held[0] === CALL || held[0] === JMP32);
  if (details.callsFunctions === true && branches) {
    forms.push({ kind: "another target", bytes: branch32(held[0], offset, target()) });
  }
  if (isNops(held)) {
    forms.push({ kind: "another NOP", bytes: new Uint8Array(held.length).fill(0x90) });
    if (held.length === 5) forms.push({ kind: "another NOP", bytes: Uint8Array.of(0x66, 0x66, 0x66, 0x66, 0x90) });
  }
  return forms;
}
