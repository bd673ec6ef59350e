// The audit of a whole dump: the core and every loaded module, against the images that were found. What has no image, or
// one of another build, is told as not checked; the rest goes on.

import { BuiltCore } from "../built/core.ts";
import { coreFromMemory, moduleFromMemory } from "../built/from-memory.ts";
import { BuiltModule } from "../built/module.ts";
import type { BuiltObject } from "../built/object.ts";
import { formatAddress, toKernelOffset } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { KernelImage, ModuleImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import type { Unknown } from "../results/types.ts";
import { nearestName } from "../sites/base/context.ts";
import { type PatchState, readPatchState } from "../sites/base/patch-state.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import { type GeneratedCode, generatedCode } from "../sites/generated/generated-code.ts";
import { type ReplayedObject, replayObject } from "../sites/replay.ts";
import { leaveOutUnknownTables } from "../sites/unknown/unknown-tables.ts";
import { kaslrOffsetOf, moduleBuildId, offsetContradiction } from "./identity.ts";
import { unmovedPlaces } from "./misplaced.ts";
import { auditObject, type ObjectAudit } from "./object-audit.ts";
import { leaveOutUnknownRules } from "./unknown-rules.ts";

const MAX_ROUNDS = 4;

/** Where images come from. Opening may throw a PalimpsestError, which becomes a "not checked". */
export interface ImageSet {
  readonly core: KernelImage | undefined;
  /** Why there is no core image. */
  readonly coreProblem?: string;
  module(module: KernelModule): ModuleImage | undefined;
}

export interface NotChecked {
  /** "vmlinux", a module's name, or what it is about */
  readonly object: string;
  readonly reason: string;
  /** True for what there was nothing of to check at that moment, so that the account is complete without it. */
  readonly passing?: boolean;
}

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
  const problems: string[] = [];
  const state = readPatchState(kernel, problems);
  const objects: ObjectAudit[] = [];
  const notChecked: NotChecked[] = [];
  const unknown: Unknown[] = [];
  const count = kernel.modules.length + 1;
  const audit = (name: string, open: () => BuiltObject): void => {
    try {
      const built = open();
      const replayed = replayObject(kernel, built, state);
      const { object, parts } = auditLeavingOut(kernel, replayed);
      objects.push(object);
      for (const part of parts) unknown.push(unknownFinding(kernel, part));
      for (const problem of replayed.problems) problems.push(`${name}: ${problem}`);
      for (const part of replayed.space.unjudged) {
        const sites = part.sites === 1 ? "1 site" : `${part.sites} sites`;
        const first = nearestName(kernel, part.first);
        notChecked.push({
          object: name,
          reason: `${part.mechanism}: the ${part.state} of ${sites} is not in the dump, the first at ${first}`,
        });
      }
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      notChecked.push({ object: name, reason: error.message });
    }
  };
  const auditPartly = (name: string, reason: string, open: () => BuiltObject | undefined): void => {
    notChecked.push({ object: name, reason: `${reason}; only sites that the dump itself tells were checked` });
    const object = open();
    if (object !== undefined) audit(name, () => object);
  };
  yield { name: "vmlinux", part: 0 };
  const { core } = images;
  if (core === undefined || kernel.lackingSymbols !== undefined) {
    const reason = kernel.lackingSymbols ?? images.coreProblem ?? "no image of this kernel was found";
    auditPartly("vmlinux", reason, () => coreFromMemory(kernel));
  } else {
    let built: BuiltCore | undefined;
    try {
      built = openCore(kernel, core);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      auditPartly("vmlinux", error.message, () => coreFromMemory(kernel));
    }
    if (built !== undefined) {
      audit("vmlinux", () => built);
      const unmoved = objects[0] && unmovedPlaces(objects[0], kaslrOffsetOf(kernel, core));
      if (unmoved !== undefined) {
        objects.pop();
        const reason = `the relocation table of ${core.path} leaves out ${unmoved} places that this boot moved: what was built cannot be placed`;
        auditPartly("vmlinux", reason, () => coreFromMemory(kernel));
      }
    }
  }
  for (const [i, module] of kernel.modules.entries()) {
    yield { name: module.name, part: (i + 1) / count };
    if (module.state === "unformed") {
      const reason = "it is just being created (MODULE_STATE_UNFORMED), nothing of it runs yet";
      notChecked.push({ object: module.name, reason, passing: true });
      continue;
    }
    if (module.state === "unknown") {
      notChecked.push({ object: module.name, reason: "its state is none that is known" });
      continue;
    }
    let built: BuiltObject;
    try {
      built = openModule(kernel, module, images, options.force ?? false);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      auditPartly(module.name, error.message, () => moduleFromMemory(kernel, module));
      continue;
    }
    audit(module.name, () => built);
  }
  const kaslrOffset = core === undefined ? undefined : kaslrOffsetOf(kernel, core);
  const moved = offsetContradiction(kernel, kaslrOffset);
  if (moved !== undefined) problems.push(moved);
  // Findings beyond a limit are only counted; another round sees those.
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const parts = leaveOutUnknownRules(objects);
    if (parts.length === 0) break;
    for (const part of parts) unknown.push(unknownFinding(kernel, part));
    objects.splice(0, objects.length, ...objects.map((object) => auditObject(kernel, object.replayed)));
  }
  const generated = generatedCode(kernel, problems, state);
  return { objects, notChecked, unknown, generated, state, kaslrOffset, problems };
}

/** Bytes that nothing explains may be the sites of a table that is not known: those are left out, and told as such. */
function auditLeavingOut(kernel: Kernel, replayed: ReplayedObject): { object: ObjectAudit; parts: UnknownPart[] } {
  const object = auditObject(kernel, replayed);
  const unexplained = object.findings.flatMap((finding) => {
    const at =
      finding.id === "text.foreign" && finding.site === undefined ? toKernelOffset(BigInt(finding.address)) : undefined;
    return at === undefined ? [] : [{ at, length: finding.length }];
  });
  const found = unexplained.length === 0 ? [] : leaveOutUnknownTables(kernel, replayed, unexplained);
  const places = new Set(found.map((part) => part.address));
  const parts = [...replayed.unknown.filter((part) => !places.has(part.address)), ...found];
  const told = found.length > 0 || (unexplained.length > 0 && parts.some((part) => part.id === "unknown.table"));
  return { object: told ? auditObject(kernel, replayed) : object, parts };
}

/** The built layer of the core for this boot. @throws MissingError when the kernel's variables have no names */
export function openCore(kernel: Kernel, image: KernelImage): BuiltCore {
  if (kernel.lackingSymbols !== undefined) throw new NoImage(kernel.lackingSymbols);
  return new BuiltCore(image, {
    kaslrOffset: kaslrOffsetOf(kernel, image),
    symbols: kernel.symbols,
    initFreed: kernel.initFreed,
  });
}

/** The built layer of a module. @throws MissingError, FormatError … when its file is missing or another build */
export function openModule(kernel: Kernel, module: KernelModule, images: ImageSet, force = false): BuiltModule {
  if (kernel.lackingSymbols !== undefined) throw new NoImage(kernel.lackingSymbols);
  const image = images.module(module);
  if (image === undefined) throw new NoImage(`no file of module ${module.name} was found`);
  const running = moduleBuildId(kernel, module);
  if (!force && running !== undefined && image.buildId !== undefined && running !== image.buildId) {
    throw new NoImage(
      `${image.path} is another build: its build-id is ${image.buildId}, the loaded module's ${running}`,
    );
  }
  return new BuiltModule(kernel, module, image);
}

/** What to compare with is not there, or cannot be used. */
class NoImage extends PalimpsestError {
  readonly kind = "missing";
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
