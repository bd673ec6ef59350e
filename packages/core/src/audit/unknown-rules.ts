// A kernel whose tables or records are of a form that is not known leaves its mark on every site of a mechanism. That is one
// finding, `unknown.state`, and not a heap of foreign bytes; a place that somebody overwrote never looks like that.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { TextForeign } from "../results/types.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import type { ObjectAudit } from "./object-audit.ts";

/** Fewer sites than this are told one by one, whatever their share. */
const MIN_SITES = 200;
/** The share of a mechanism's sites that must deviate. */
const MIN_SHARE = 0.2;
/** Damage falls beside sites as well: at most this share of the foreign places may. */
const MAX_OUTSIDE = 0.1;

const isForeign = (finding: { id: string }): finding is TextForeign => finding.id === "text.foreign";

/**
 * Leaves the sites of such mechanisms out of the account (their objects must be audited again) and tells what was left out.
 * @param objects all objects of one dump, audited
 */
export function leaveOutUnknownRules(objects: readonly ObjectAudit[]): UnknownPart[] {
  const foreign = objects.flatMap((object) =>
    object.findings.filter(isForeign).map((finding) => ({ object, finding })),
  );
  const outside = foreign.filter(({ finding }) => finding.site === undefined).length;
  if (outside > MAX_OUTSIDE * foreign.length) return [];
  const parts: UnknownPart[] = [];
  for (const mechanism of new Set(foreign.map(({ finding }) => finding.mechanism))) {
    if (mechanism === undefined) continue;
    const mine = foreign.filter(({ finding }) => finding.mechanism === mechanism && finding.site !== undefined);
    const all = objects.reduce((sum, object) => sum + (object.mechanisms.get(mechanism)?.sites ?? 0), 0);
    const sites = new Set(mine.map(({ finding }) => finding.site?.address)).size;
    if (sites < MIN_SITES || sites < MIN_SHARE * all) continue;
    let bytes = 0;
    let first: KernelOffset | undefined;
    for (const { object, finding } of mine) {
      const at = finding.site && toKernelOffset(BigInt(finding.site.address));
      if (at === undefined || finding.site === undefined) continue;
      object.replayed.space.leaveOut(at, finding.site.length);
      bytes += finding.length;
      first = Math.min(first ?? at, at);
    }
    parts.push({
      id: "unknown.state",
      mechanism,
      object: mine[0].object.name,
      address: fromKernelOffset(first ?? 0),
      length: bytes,
      what: `${sites} of ${all} sites hold what its known rules do not call for; its tables or records are of an unknown form`,
    });
  }
  return parts;
}
