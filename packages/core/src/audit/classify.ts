// What a differing run is: another legal form of its site (stale), another encoding of the same NOPs (equivalent), a patch
// caught in the act (in-flight), or nothing that the kernel would write (foreign).
import { formatAddress, fromKernelOffset, type KernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { SiteStale, SlotFact, TextForeign } from "../results/types.ts";
import { nearestName } from "../sites/base/context.ts";
import type { PatchRegion } from "../sites/base/patch-space.ts";
import type { SiteDetails, SlotState } from "../sites/base/site.ts";
import type { ReplayedObject } from "../sites/replay.ts";
import { branchAt, branchEnd } from "../x86/branch.ts";
import { hexBytes, INT3 } from "../x86/encode.ts";
import { isNops } from "../x86/equivalence.ts";
import type { MismatchRun } from "./compare.ts";
import { PokeIndex, type SiteHit, SiteIndex } from "./site-index.ts";

export interface Classified {
  /** differing bytes by verdict */
  equivalent: number;
  inFlight: number;
  stale: number;
  foreign: number;
  /** stale sites by mechanism */
  readonly staleSites: Map<string, number>;
  readonly findings: (SiteStale | TextForeign)[];
  /** Runs beyond MAX_FINDINGS: counted as foreign, without a finding of their own. */
  untold: number;
}

/** More findings than anybody reads; the counts stay exact beyond it. */
const MAX_FINDINGS = 50_000;
const LONGEST_EXPLAINED = 4096;

/** Longest text of bytes in a finding; what is cut is said. */
const MAX_HEX = 64;

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Sorts the runs of one object into verdicts. `foundOf` gives the found bytes of a region. */
export function classifyRuns(
  kernel: Kernel,
  replayed: ReplayedObject,
  runs: readonly MismatchRun[],
  foundOf: (region: PatchRegion) => Uint8Array,
): Classified {
  const out: Classified = {
    equivalent: 0,
    inFlight: 0,
    stale: 0,
    foreign: 0,
    staleSites: new Map(),
    findings: [],
    untold: 0,
  };
  const index = new SiteIndex(replayed.sites);
  const pokes = new PokeIndex(replayed.inFlight);
  /** Sites already explained, so that two runs in one site make one finding. */
  const explained = new Map<KernelOffset, { end: number; verdict: "stale" | "equivalent" | "inFlight" }>();
  for (const run of runs) {
    const found = foundOf(run.region);
    let at = run.start;
    const end = run.start + run.length;
    if (run.length > LONGEST_EXPLAINED) {
      // Whole pages of damage: no site explains them, and asking for each byte would take for ever.
      out.foreign += run.length;
      out.findings.push(foreignFinding(kernel, replayed, index, run.region, found, at, end));
      continue;
    }
    if (out.findings.length >= MAX_FINDINGS) {
      out.foreign += run.length;
      out.untold += 1;
      continue;
    }
    while (at < end) {
      const offset = run.region.start + at;
      const site = explainedSite(index, pokes, explained, kernel, replayed, run.region, found, offset, out);
      if (site === undefined) {
        // Foreign up to where a site explains the bytes again, or to the end of the run.
        let stop = at + 1;
        while (
          stop < end &&
          explainedSite(index, pokes, explained, kernel, replayed, run.region, found, run.region.start + stop, out) ===
            undefined
        ) {
          stop++;
        }
        out.foreign += stop - at;
        out.findings.push(foreignFinding(kernel, replayed, index, run.region, found, at, stop));
        at = stop;
      } else {
        const stop = Math.min(end, site.end - run.region.start);
        out[site.verdict] += stop - at;
        at = stop;
      }
    }
  }
  return out;
}

function explainedSite(
  index: SiteIndex,
  pokes: PokeIndex,
  explained: Map<KernelOffset, { end: number; verdict: "stale" | "equivalent" | "inFlight" }>,
  kernel: Kernel,
  replayed: ReplayedObject,
  region: PatchRegion,
  found: Uint8Array,
  offset: KernelOffset,
  out: Classified,
): { end: number; verdict: "stale" | "equivalent" | "inFlight" } | undefined {
  for (const poke of pokes.covering(offset)) {
    const held = slice(region, found, poke.start, poke.length);
    if (held !== undefined && poke.forms.some((form) => sameBytes(form, held))) {
      return { end: poke.start + poke.length, verdict: "inFlight" };
    }
  }
  for (const hit of index.covering(offset)) {
    const known = explained.get(hit.start);
    if (known !== undefined && offset < known.end) return known;
    const held = slice(region, found, hit.start, hit.length);
    if (held === undefined) continue;
    const intended = slice(region, region.intended, hit.start, hit.length);
    if (intended === undefined || sameBytes(held, intended)) continue;
    if (isNops(held) && isNops(intended)) {
      const verdict = { end: hit.start + hit.length, verdict: "equivalent" as const };
      explained.set(hit.start, verdict);
      return verdict;
    }
    const details = hit.list.describe(hit.index);
    const form = heldForm(kernel, details, held, hit);
    if (form === undefined) continue;
    const verdict = { end: hit.start + hit.length, verdict: "stale" as const };
    explained.set(hit.start, verdict);
    out.staleSites.set(hit.list.mechanism, (out.staleSites.get(hit.list.mechanism) ?? 0) + 1);
    out.findings.push(staleFinding(kernel, replayed, hit, details, form, region, held, intended));
    return verdict;
  }
  return undefined;
}

function slice(region: PatchRegion, bytes: Uint8Array, start: KernelOffset, length: number): Uint8Array | undefined {
  const at = start - region.start;
  return at < 0 || at + length > bytes.length ? undefined : bytes.subarray(at, at + length);
}

/** The name of the legal form that these bytes are, or undefined. */
function heldForm(kernel: Kernel, details: SiteDetails, held: Uint8Array, hit: SiteHit): string | undefined {
  const form = details.forms.find((each) => sameBytes(each.bytes, held));
  if (form !== undefined) return form.name;
  if (!details.callsFunctions) return undefined;
  // A near call or jump (with prefixes, or with padding behind) to the first byte of a function.
  const branch = branchAt(held);
  if (branch?.kind !== "call" && branch?.kind !== "jmp") return undefined;
  const rest = held.subarray(branch.length);
  if (rest.length > 0 && !isNops(rest) && !rest.every((b) => b === INT3)) return undefined;
  const target = branchEnd(branch, hit.start);
  if (target < 0 || target >= 2 ** 31) return undefined;
  const symbols = kernel.allSymbols.at(fromKernelOffset(target));
  const symbol = symbols.find((each) => /^[tTwW]$/.test(each.type));
  if (symbol === undefined) return undefined;
  const where = symbol.module === undefined ? symbol.name : `${symbol.name} [${symbol.module}]`;
  return `${branch.kind === "call" ? "CALL" : "JMP"} to ${where}`;
}

const cut = (bytes: Uint8Array): string =>
  bytes.length <= MAX_HEX ? hexBytes(bytes) : `${hexBytes(bytes.subarray(0, MAX_HEX))} … (${bytes.length} bytes)`;

const slotFact = (slot: SlotState | undefined): SlotFact | undefined =>
  slot && {
    name: slot.name,
    value: slot.value,
    ...(slot.address === undefined ? {} : { address: formatAddress(slot.address) }),
  };

function staleFinding(
  kernel: Kernel,
  replayed: ReplayedObject,
  hit: SiteHit,
  details: SiteDetails,
  form: string,
  region: PatchRegion,
  held: Uint8Array,
  intended: Uint8Array,
): SiteStale {
  const symbol = nearestName(kernel, hit.start);
  const differs: { address: string; length: number }[] = [];
  for (let i = 0; i < held.length; i++) {
    if (held[i] === intended[i]) continue;
    const last = differs.at(-1);
    if (last !== undefined && i > 0 && held[i - 1] !== intended[i - 1]) {
      differs[differs.length - 1] = { address: last.address, length: last.length + 1 };
    } else differs.push({ address: formatAddress(fromKernelOffset(hit.start + i)), length: 1 });
  }
  return {
    id: "site.stale",
    severity: "error",
    address: formatAddress(fromKernelOffset(hit.start)),
    length: hit.length,
    object: replayed.object.name,
    symbol,
    title: `${hit.list.mechanism} site at ${symbol} holds: ${form}`,
    mechanism: hit.list.mechanism,
    layers: {
      built: cut(slice(region, region.built, hit.start, hit.length) ?? new Uint8Array()),
      intended: cut(intended),
      found: cut(held),
    },
    form,
    reason: details.reason,
    slot: slotFact(details.slot),
    differs,
    notes: [
      `Its state calls for other bytes: ${details.reason}.`,
      "The form is legal for this mechanism, so the kernel wrote it at another time, or somebody imitated it.",
    ],
  };
}

function foreignFinding(
  kernel: Kernel,
  replayed: ReplayedObject,
  index: SiteIndex,
  region: PatchRegion,
  found: Uint8Array,
  from: number,
  to: number,
): TextForeign {
  const offset = region.start + from;
  const symbol = nearestName(kernel, offset);
  const hit = index.covering(offset)[0];
  const details = hit?.list.describe(hit.index);
  const layersOf = (start: number, length: number) => ({
    built: cut(region.built.subarray(start, start + length)),
    intended: cut(region.intended.subarray(start, start + length)),
    found: cut(found.subarray(start, start + length)),
  });
  const notes =
    hit === undefined
      ? ["No mechanism of this kernel writes here: the bytes should be as built."]
      : [`The place belongs to a ${hit.list.mechanism} site, but these bytes are none of its forms.`];
  if (region.name === "(padding)") notes[0] = "Between and behind a module's code the loader leaves zeros.";
  return {
    id: "text.foreign",
    severity: "error",
    address: formatAddress(fromKernelOffset(offset)),
    length: to - from,
    object: replayed.object.name,
    symbol,
    title: `${to - from === 1 ? "1 byte" : `${to - from} bytes`} at ${symbol} that nothing explains`,
    layers: layersOf(from, to - from),
    mechanism: hit?.list.mechanism,
    site: hit && {
      address: formatAddress(fromKernelOffset(hit.start)),
      length: hit.length,
      layers: layersOf(hit.start - region.start, hit.length),
    },
    slot: slotFact(details?.slot),
    notes,
  };
}
