// A dump of a running machine holds pages of different moments: where the kernel switched its sites meanwhile, a part of them is
// of before and another of after. That is one finding a mechanism, `unknown.smear`, and no heap of stale sites: such a dump
// cannot tell who wrote them and when.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { Finding } from "../results/types.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import { INT3 } from "../x86/encode.ts";
import type { ObjectAudit } from "./object-audit.ts";

/** Those whose sites a kernel switches while it runs. What is patched once, at boot or loading, is never caught so. */
const SWITCHED = new Set(["ftrace", "jump-labels", "static-calls", "kprobes", "bpf"]);
const PAGE = 4096;

interface Behind {
  readonly object: ObjectAudit;
  readonly at: KernelOffset;
  readonly length: number;
  readonly bytes: number;
}

/**
 * Leaves such sites out of the account (their objects must be audited again) and tells what was left out.
 * @param objects all objects of one dump, audited
 * @param live what shows that the machine ran on while the dump was written; undefined: nothing is left out
 */
export function leaveOutSmear(objects: readonly ObjectAudit[], live: string | undefined): UnknownPart[] {
  if (live === undefined) return [];
  const byMechanism = new Map<string, Behind[]>();
  for (const object of objects) {
    for (const finding of object.findings) {
      const found = behind(object, finding);
      if (found === undefined) continue;
      const list = byMechanism.get(found.mechanism);
      if (list === undefined) byMechanism.set(found.mechanism, [found.place]);
      else list.push(found.place);
    }
  }
  return [...byMechanism].map(([mechanism, places]) => {
    const all = objects.reduce((sum, object) => sum + (object.mechanisms.get(mechanism)?.sites ?? 0), 0);
    const pages = new Set(places.map(({ at }) => Math.floor(at / PAGE))).size;
    const first = places.reduce((least, each) => (each.at < least.at ? each : least));
    for (const { object, at, length } of places) object.replayed.space.leaveOut(at, length);
    const where = `${places.length} of ${all} sites, in ${pages === 1 ? "1 page" : `${pages} pages`},`;
    return {
      id: "unknown.smear",
      mechanism,
      object: first.object.name,
      address: fromKernelOffset(first.at),
      length: places.reduce((sum, { bytes }) => sum + bytes, 0),
      what: `${where} are of another moment than their state: the machine ran on while the dump was written (${live})`,
    };
  });
}

function behind(object: ObjectAudit, finding: Finding): { mechanism: string; place: Behind } | undefined {
  if (finding.id !== "site.stale" && finding.id !== "text.foreign") return undefined;
  const { mechanism } = finding;
  if (mechanism === undefined || !SWITCHED.has(mechanism)) return undefined;
  const site = finding.id === "site.stale" ? finding : finding.site;
  const at = site && toKernelOffset(BigInt(site.address));
  if (site === undefined || at === undefined) return undefined;
  if (finding.id === "text.foreign" && !isHalfWritten(object, at, site.length)) return undefined;
  const bytes =
    finding.id === "site.stale" ? finding.differs.reduce((sum, each) => sum + each.length, 0) : finding.length;
  return { mechanism, place: { object, at, length: site.length, bytes } };
}

/** INT3 with the tail of what was built or is intended: the middle steps of text_poke_bp_batch(). */
function isHalfWritten(object: ObjectAudit, at: KernelOffset, length: number): boolean {
  const region = object.replayed.space.find(at, length);
  const found = region && object.found.get(region)?.bytes;
  if (region === undefined || found === undefined) return false;
  const start = at - region.start;
  if (found[start] !== INT3) return false;
  return [region.built, region.intended].some((layer) => {
    for (let i = start + 1; i < start + length; i++) if (layer[i] !== found[i]) return false;
    return true;
  });
}
