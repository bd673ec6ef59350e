// A kernel whose compiler, tables or records follow a rule that is not known leaves its mark on every site of a mechanism,
// or at the same distance from every function. That is one finding, `unknown.rule`, and not a heap of foreign or stale
// places; what somebody overwrote never looks like that.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { SiteStale, TextForeign } from "../results/types.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import { type Anchor, anchorsOf, SortedSites } from "./anchors.ts";
import type { ObjectAudit } from "./object-audit.ts";

/** Fewer sites than this are told one by one, whatever their share. */
const MIN_SITES = 200;
/** The share of a mechanism's sites, or of the functions, that must deviate. */
const MIN_SHARE = 0.2;
/** Damage falls anywhere: at most this share of the foreign places may lie beside sites and in no such line. */
const MAX_OUTSIDE = 0.1;

interface Deviation {
  readonly object: ObjectAudit;
  readonly finding: TextForeign | SiteStale;
  readonly mechanism: string;
  readonly at: KernelOffset;
  readonly length: number;
}

/**
 * Leaves the sites of such mechanisms out of the account (their objects must be audited again) and tells what was left out.
 * @param objects all objects of one dump, audited
 */
export function leaveOutUnknownRules(objects: readonly ObjectAudit[]): UnknownPart[] {
  const inSites: Deviation[] = [];
  const beside: Deviation[] = [];
  let foreign = 0;
  for (const object of objects) {
    for (const finding of object.findings) {
      if (finding.id === "text.foreign") {
        foreign++;
        (finding.site === undefined ? beside : inSites).push(deviation(object, finding));
      } else if (finding.id === "site.stale" && finding.slot?.address === undefined) {
        // Sites of one slot that are behind it are what a late write leaves: each of them is told.
        inSites.push(deviation(object, finding));
      }
    }
  }
  if (inSites.length + beside.length < MIN_SITES) return [];
  const sitesOf = (mechanism: string): number =>
    objects.reduce((sum, object) => sum + (object.mechanisms.get(mechanism)?.sites ?? 0), 0);
  const lines = linesOf(beside, sitesOf);
  const loose = beside.length - lines.reduce((sum, line) => sum + line.members.length, 0);
  if (loose > MAX_OUTSIDE * foreign) return [];
  const parts: UnknownPart[] = [];
  for (const mechanism of new Set(inSites.map((each) => each.mechanism))) {
    const mine = inSites.filter((each) => each.mechanism === mechanism);
    const all = sitesOf(mechanism);
    const sites = new Set(mine.map((each) => each.at)).size;
    if (sites < MIN_SITES || sites < MIN_SHARE * all) continue;
    const what = `${sites} of ${all} sites hold what its known rules do not call for; its tables, records or compiler are of an unknown form`;
    parts.push(leaveOut(mine, mechanism, what));
  }
  for (const { anchor, members } of lines) {
    const what = `${members.length} of ${sitesOf(anchor.mechanism)} ${anchor.words} hold what no known rule calls for`;
    parts.push(leaveOut(members, "unknown", what));
  }
  return parts;
}

function deviation(object: ObjectAudit, finding: TextForeign | SiteStale): Deviation {
  const place = finding.id === "text.foreign" ? (finding.site ?? finding) : finding;
  const at = toKernelOffset(BigInt(place.address)) ?? 0;
  return { object, finding, mechanism: finding.mechanism ?? "", at, length: place.length };
}

interface Line {
  readonly anchor: Anchor;
  readonly members: readonly Deviation[];
}

/** Places beside all sites that lie at one distance from a fifth of all functions, or of a mechanism's sites. */
function linesOf(beside: readonly Deviation[], sitesOf: (mechanism: string) => number): Line[] {
  if (beside.length < MIN_SITES) return [];
  const sites = new SortedSites();
  const groups = new Map<string, { anchor: Anchor; members: Deviation[] }>();
  for (const each of beside) {
    for (const anchor of anchorsOf(sites, each.object, each.at)) {
      const group = groups.get(anchor.words) ?? { anchor, members: [] };
      group.members.push(each);
      groups.set(anchor.words, group);
    }
  }
  const lines: Line[] = [];
  const taken = new Set<Deviation>();
  const share = ({ anchor, members }: Line): number => members.length / Math.max(1, sitesOf(anchor.mechanism));
  for (const { anchor, members } of [...groups.values()].sort((a, b) => share(b) - share(a))) {
    const own = members.filter((each) => !taken.has(each));
    if (own.length < MIN_SITES || own.length < MIN_SHARE * sitesOf(anchor.mechanism)) continue;
    for (const each of own) taken.add(each);
    lines.push({ anchor, members: own });
  }
  return lines;
}

function leaveOut(places: readonly Deviation[], mechanism: string, what: string): UnknownPart {
  let bytes = 0;
  let first = places[0];
  for (const each of places) {
    each.object.replayed.space.leaveOut(each.at, each.length);
    bytes += each.finding.length;
    if (each.at < first.at) first = each;
  }
  const { object } = first;
  return {
    id: "unknown.rule",
    mechanism,
    object: object.name,
    address: fromKernelOffset(first.at),
    length: bytes,
    what,
  };
}
