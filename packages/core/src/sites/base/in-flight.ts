// Places that the kernel was writing at the moment of the dump. Two things show it: the entries of text_poke's own list,
// and a lock that the kernel holds while it changes the sites of one key. Everything else that is not as intended is a
// finding.
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import { type PokeEntry, pokeList } from "../../kernel/records/poke-list.ts";
import { INT3 } from "../../x86/encode.ts";
import type { SiteContext } from "./context.ts";
import { branchTarget, isCallable } from "./legal-call.ts";
import type { Pending, SiteDetails, SiteList } from "./site.ts";

/** A place that the kernel was writing at the moment of the dump, and what it may hold in each step. */
export interface InFlightPoke {
  readonly start: KernelOffset;
  readonly length: number;
  readonly forms: readonly Uint8Array[];
  /** What shows that it was being written: "text_poke's list names it". */
  readonly evidence: string;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The pokes of one object, for places whose bytes are not the intended ones. */
export function inFlightPokes(context: SiteContext, sites: readonly SiteList[]): readonly InFlightPoke[] {
  const out: InFlightPoke[] = [];
  const entries = pokeList(context.kernel, context.problems).filter(
    (entry) => context.space.find(entry.at, entry.length) !== undefined,
  );
  for (const entry of entries) {
    const poke = pokeInFlight(context, sites, entry);
    if (poke !== undefined) out.push(poke);
  }
  const named = new Set(entries.map((entry) => entry.at));
  for (const list of sites) {
    if (list.pending !== undefined) out.push(...pendingPokes(context, list, list.pending, named));
  }
  return out;
}

/** What the i-th site of the list may hold besides the intended bytes, given what it holds. */
function legalForms(context: SiteContext, details: SiteDetails, at: KernelOffset, held: Uint8Array): Uint8Array[] {
  const forms = details.forms.map((form) => form.bytes);
  if (details.callsFunctions) {
    const target = branchTarget(held, at);
    if (target !== undefined && isCallable(context.kernel, target)) forms.push(held.slice());
  }
  return forms;
}

/**
 * The steps of text_poke_bp_batch(): old bytes; INT3 and the old tail; INT3 and the new tail; new bytes. The list holds
 * the new bytes only, so the old ones must be a legal form of a site there.
 */
function pokeInFlight(context: SiteContext, sites: readonly SiteList[], entry: PokeEntry): InFlightPoke | undefined {
  const { space, kernel } = context;
  const { at, length } = entry;
  const intended = space.read(at, length);
  const built = space.readBuilt(at, length);
  const found = kernel.memory.tryRead(fromKernelOffset(at), length);
  if (intended === undefined || built === undefined || found === undefined || same(found, intended)) return undefined;
  const old: Uint8Array[] = [intended.slice(), built];
  const held = found.slice();
  if (held[0] === INT3 && entry.old !== undefined) held[0] = entry.old;
  for (const list of sites) {
    const index = siteAt(list, at, length);
    if (index < 0) continue;
    old.push(...legalForms(context, list.describe(index), at, held), ...(list.pending?.forms?.(index, true) ?? []));
  }
  const forms = old.slice();
  if (entry.active) {
    for (const bytes of old) forms.push(withInt3(bytes));
    if (entry.text !== undefined) {
      forms.push(entry.text, withInt3(entry.text));
      for (const bytes of old) forms.push(...halfWritten(bytes, entry.text));
    }
  }
  const evidence = entry.active ? "text_poke's list of places being written names it" : "it waits in text_poke's queue";
  return { start: at, length, forms, evidence };
}

/** INT3, the first bytes of the new tail, the last ones of the old: a copy that was stopped in the middle. */
export function halfWritten(old: Uint8Array, text: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let split = 2; split < Math.min(old.length, text.length); split++) {
    const bytes = withInt3(old);
    bytes.set(text.subarray(1, split), 1);
    out.push(bytes);
  }
  return out;
}

function withInt3(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  out[0] = INT3;
  return out;
}

/** Index of the site that starts there with that length, or -1. */
function siteAt(list: SiteList, at: KernelOffset, length: number): number {
  for (let i = list.offsets.indexOf(at); i >= 0; i = list.offsets.indexOf(at, i + 1)) {
    if (list.lengths[i] === length) return i;
  }
  return -1;
}

/** Sites of a list under change that hold one of their legal forms. */
function pendingPokes(
  context: SiteContext,
  list: SiteList,
  pending: Pending,
  poked: ReadonlySet<KernelOffset>,
): InFlightPoke[] {
  const { kernel, space } = context;
  const found: { index: number; poke: InFlightPoke }[] = [];
  const keys = new Set<bigint>();
  const named = new Set<bigint>();
  for (let index = 0; index < list.offsets.length; index++) {
    const start = list.offsets[index];
    const length = list.lengths[index];
    const key = pending.key?.(index);
    if (key !== undefined && (poked.has(start) || pending.names?.(index) === true)) named.add(key);
    const intended = space.read(start, length);
    const held = intended && kernel.memory.tryRead(fromKernelOffset(start), length);
    if (held === undefined || intended === undefined || same(held, intended)) continue;
    const forms = pending.forms?.(index, false) ?? legalForms(context, list.describe(index), start, held);
    if (!forms.some((form) => same(form, held))) continue;
    found.push({ index, poke: { start, length, forms, evidence: pending.evidence } });
    if (key !== undefined) keys.add(key);
  }
  const { key } = pending;
  if (key === undefined) return found.map((each) => each.poke);
  // The lock lets one change through at a time: it is about the key that the state names, else about the only one whose
  // sites are behind.
  const chosen = named.size > 0 ? named : keys.size === 1 ? keys : new Set<bigint>();
  const behind = found.filter((each) => chosen.has(key(each.index)));
  if (named.size > 0 || !pending.ordered) return behind.map((each) => each.poke);
  const first = behind.reduce((least, each) => Math.min(least, each.poke.start), Number.POSITIVE_INFINITY);
  const late = new Set(behind.map((each) => each.index));
  for (let index = 0; index < list.offsets.length; index++) {
    const start = list.offsets[index];
    if (start <= first || late.has(index) || !chosen.has(key(index))) continue;
    if (space.find(start, list.lengths[index]) !== undefined) return [];
  }
  return behind.map((each) => each.poke);
}
