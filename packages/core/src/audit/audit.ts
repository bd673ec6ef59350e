// The audit of a whole dump: the core and every loaded module, against the images that were found. What has no image, or
// one of another build, is told as not checked; the rest goes on.
import { formatAddress } from "../bytes/brand.ts";
import { liveEvidence } from "../kernel/cpus/liveness.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Unknown } from "../results/types.ts";
import { nearestName } from "../sites/base/context.ts";
import type { PatchState } from "../sites/base/patch-state.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import { type GeneratedCode, generatedCode } from "../sites/generated/generated-code.ts";
import { Auditor, type NotChecked } from "./auditor.ts";
import { kaslrOffsetOf, offsetContradiction } from "./identity.ts";
import type { ImageSet } from "./images.ts";
import { auditObject, type ObjectAudit } from "./object-audit.ts";
import { leaveOutSmear } from "./smear.ts";
import { leaveOutUnknownRules } from "./unknown-rules.ts";

export type { NotChecked } from "./auditor.ts";
export { type ImageSet, openCore, openModule } from "./images.ts";

const MAX_ROUNDS = 4;

export interface DumpAudit {
  readonly objects: readonly ObjectAudit[];
  readonly notChecked: readonly NotChecked[];
  readonly unknown: readonly Unknown[];
  /** Code that the kernel made while it ran. */
  readonly generated: readonly GeneratedCode[];
  readonly state: PatchState;
  /** bytes from the link-time to the run-time address, when there is a core image */
  readonly kaslrOffset: number | undefined;
  readonly problems: readonly string[];
}

export interface AuditOptions {
  /** Compare with images of another build too. */
  readonly force?: boolean;
  /** The door that others use too; default: one of its own. */
  readonly auditor?: Auditor;
}

/** Told before each object. */
export interface AuditStep {
  /** "vmlinux" or the module's name */
  readonly name: string;
  /** 0 … 1: what of the work is done */
  readonly part: number;
}

/** Audits the core and all modules. */
export function auditDump(kernel: Kernel, images: ImageSet, options: AuditOptions = {}): DumpAudit {
  const steps = auditSteps(kernel, images, options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same object by object, for a caller that shows progress or may stop. */
export function* auditSteps(
  kernel: Kernel,
  images: ImageSet,
  options: AuditOptions = {},
): Generator<AuditStep, DumpAudit, void> {
  const auditor = options.auditor ?? new Auditor(kernel, images, options.force);
  const { state } = auditor;
  const problems: string[] = [...auditor.problems];
  const objects: ObjectAudit[] = [];
  const notChecked: NotChecked[] = [];
  const unknown: Unknown[] = [];
  const count = kernel.modules.length + 1;
  for (const [i, module] of [undefined, ...kernel.modules].entries()) {
    yield { name: module?.name ?? "vmlinux", part: i / count };
    const one = auditor.auditOne(module);
    if (one.object !== undefined) objects.push(one.object);
    notChecked.push(...one.notOpened, ...one.notJudged);
    for (const part of one.unknown) unknown.push(unknownFinding(kernel, part));
    problems.push(...one.problems);
  }
  const { core } = images;
  const kaslrOffset = core === undefined ? undefined : kaslrOffsetOf(kernel, core);
  const moved = offsetContradiction(kernel, kaslrOffset);
  if (moved !== undefined) problems.push(moved);
  const live = liveEvidence(kernel);
  if (live !== undefined) problems.push(`the machine ran on while the dump was written (${live}): pages differ in age`);
  // Findings beyond a limit are only counted; another round sees those.
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const smear = leaveOutSmear(objects, live);
    const parts = smear.length > 0 ? smear : leaveOutUnknownRules(objects);
    if (parts.length === 0) break;
    for (const part of parts) unknown.push(unknownFinding(kernel, part));
    objects.splice(0, objects.length, ...objects.map((object) => auditObject(kernel, object.replayed)));
  }
  const generated = generatedCode(kernel, problems, state);
  return { objects, notChecked, unknown, generated, state, kaslrOffset, problems };
}

function unknownFinding(kernel: Kernel, part: UnknownPart): Unknown {
  return {
    id: part.id as Unknown["id"],
    severity: part.severity ?? "warning",
    address: formatAddress(part.address),
    length: part.length,
    object: part.object,
    symbol: part.address >= 0xffffffff80000000n ? nearestName(kernel, Number(part.address - 0xffffffff80000000n)) : "",
    title: `${part.mechanism}: ${part.what}`,
    mechanism: part.mechanism,
    notes: [
      part.severity === "note"
        ? "No place that it lists stands out: the account is whole without it."
        : "What it covers is left out of the account; all other bytes are accounted for.",
    ],
  };
}
