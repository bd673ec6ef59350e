// The one door to the intended layer: whoever asks for an object, be it the audit of everything or the view of one place,
// gets it from here, replayed by what all objects tell of the kernel's era. Each object is opened and audited once.
import { coreFromMemory, moduleFromMemory } from "../built/from-memory.ts";
import type { BuiltObject } from "../built/object.ts";
import { toKernelOffset } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import { isOfKernel } from "../kernel/kept.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import type { SiteContext } from "../sites/base/context.ts";
import { nearestName } from "../sites/base/context.ts";
import type { Era } from "../sites/base/era.ts";
import { type PatchState, readPatchState } from "../sites/base/patch-state.ts";
import type { UnknownPart } from "../sites/base/site.ts";
import { readEra } from "../sites/era.ts";
import { prepareReplay, type ReplayedObject, replay } from "../sites/replay.ts";
import { leaveOutUnknownTables } from "../sites/unknown/unknown-tables.ts";
import { kaslrOffsetOf } from "./identity.ts";
import { type ImageSet, NoImage, openCore, openModule } from "./images.ts";
import { unmovedPlaces } from "./misplaced.ts";
import { auditObject, type ObjectAudit } from "./object-audit.ts";

export interface NotChecked {
  /** "vmlinux", a module's name, or what it is about */
  readonly object: string;
  readonly reason: string;
  /** True for what there was nothing of to check at that moment, so that the account is complete without it. */
  readonly passing?: boolean;
}

/** What is known of one object. */
export interface OneAudit {
  /** Undefined when nothing of it could be checked. */
  readonly object?: ObjectAudit;
  /** Why there is no built layer of it, or only what the dump itself tells. */
  readonly notOpened: readonly NotChecked[];
  /** Why there is no image of it, without what that means for the account. */
  readonly lacking?: string;
  /** Sites whose state is not in the dump, and why the audit of it ended. */
  readonly notJudged: readonly NotChecked[];
  readonly unknown: readonly UnknownPart[];
  readonly problems: readonly string[];
}

interface Opened {
  readonly context?: SiteContext;
  readonly notOpened: readonly NotChecked[];
  readonly lacking?: string;
}

const CORE = "vmlinux";

export class Auditor {
  readonly state: PatchState;
  /** What could not be read of the state. */
  readonly problems: string[] = [];
  private readonly era: Era;
  private readonly opened = new Map<KernelModule | typeof CORE, Opened>();
  private readonly audits = new Map<KernelModule | typeof CORE, OneAudit>();

  /** @param force compare with images of another build too */
  constructor(
    private readonly kernel: Kernel,
    private readonly images: ImageSet,
    private readonly force = false,
  ) {
    this.state = readPatchState(kernel, this.problems);
    const modules = (): SiteContext[] => kernel.modules.flatMap((module) => this.open(module).context ?? []);
    this.era = readEra(this.open(CORE).context, modules);
  }

  /** Audits one object. @param module undefined for the core */
  auditOne(module: KernelModule | undefined): OneAudit {
    const key = module ?? CORE;
    let audit = this.audits.get(key);
    if (audit === undefined) {
      audit = this.make(module?.name ?? CORE, this.open(key));
      if (module === undefined) audit = this.unmoved(audit) ?? audit;
      this.audits.set(key, audit);
    }
    return audit;
  }

  /** An image whose relocation table leaves places out that this boot moved tells nothing: the dump alone is asked. */
  private unmoved({ object }: OneAudit): OneAudit | undefined {
    const { kernel, images } = this;
    if (object === undefined || object.partial || images.core === undefined) return undefined;
    const unmoved = unmovedPlaces(object, kaslrOffsetOf(kernel, images.core));
    if (unmoved === undefined) return undefined;
    const reason = `the relocation table of ${images.core.path} leaves out ${unmoved} places that this boot moved: what was built cannot be placed`;
    return this.make(
      CORE,
      this.partly(CORE, reason, () => coreFromMemory(kernel)),
    );
  }

  private make(name: string, { context, notOpened, lacking }: Opened): OneAudit {
    const none = { notOpened, lacking, notJudged: [], unknown: [], problems: [] };
    if (context === undefined) return none;
    try {
      const replayed = replay(context, this.era);
      const { object, parts } = auditLeavingOut(this.kernel, replayed);
      const notJudged = replayed.space.unjudged.map((part) => ({
        object: name,
        reason: `${part.mechanism}: the ${part.state} of ${part.sites === 1 ? "1 site" : `${part.sites} sites`} is not in the dump, the first at ${nearestName(this.kernel, part.first)}`,
      }));
      const problems = replayed.problems.map((problem) =>
        isOfKernel(this.kernel, problem) ? problem : `${name}: ${problem}`,
      );
      return { ...none, object, notJudged, unknown: parts, problems };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return { ...none, notJudged: [{ object: name, reason: error.message }] };
    }
  }

  private open(key: KernelModule | typeof CORE): Opened {
    let opened = this.opened.get(key);
    if (opened === undefined) {
      opened = key === CORE ? this.openCore() : this.openModule(key);
      this.opened.set(key, opened);
    }
    return opened;
  }

  private openCore(): Opened {
    const { kernel, images } = this;
    const { core } = images;
    const partly = (reason: string): Opened => this.partly(CORE, reason, () => coreFromMemory(kernel));
    if (kernel.lackingSymbols !== undefined) return partly(kernel.lackingSymbols);
    if (core === undefined) return partly(images.coreProblem ?? "no image of this kernel was found");
    try {
      return { context: this.prepare(openCore(kernel, core)), notOpened: [] };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return partly(error.message);
    }
  }

  private openModule(module: KernelModule): Opened {
    const { kernel, images, force } = this;
    const { name } = module;
    if (module.state === "unformed") {
      const reason = "it is just being created (MODULE_STATE_UNFORMED), nothing of it runs yet";
      return { notOpened: [{ object: name, reason, passing: true }] };
    }
    if (module.state === "unknown") {
      return { notOpened: [{ object: name, reason: "its state is none that is known" }] };
    }
    try {
      return { context: this.prepare(openModule(kernel, module, images, force)), notOpened: [] };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return this.partly(name, error.message, () => moduleFromMemory(kernel, module));
    }
  }

  /** What the dump itself tells of an object without an image. */
  private partly(name: string, why: string, open: () => BuiltObject | undefined): Opened {
    const notOpened = [{ object: name, reason: `${why}; only sites that the dump itself tells were checked` }];
    try {
      const object = open();
      return { context: object && this.prepare(object), notOpened, lacking: why };
    } catch (error) {
      if (!(error instanceof PalimpsestError) || error instanceof NoImage) throw error;
      return { notOpened: [...notOpened, { object: name, reason: error.message }] };
    }
  }

  private prepare(object: BuiltObject): SiteContext {
    return prepareReplay(this.kernel, object, this.state);
  }
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
