// All mechanisms over one object, in the order of the kernel (alternative_instructions(), module_finalize(), then what
// runs later). Replacement text is patched before it is used, as its bytes are sites too.
import type { BuiltObject } from "../built/object.ts";
import { MissingError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { applyAlternatives } from "./alternatives.ts";
import { Before, holdBackPending, mayBePending } from "./boot-progress.ts";
import { applyBpfDispatchers } from "./bpf-dispatcher.ts";
import { applyCallThunks, callsComeFirst } from "./call-thunks.ts";
import { applyCfi, applyCfiSealing, passOverCfi } from "./cfi.ts";
import type { Mechanism, SiteContext } from "./context.ts";
import { applyEndbrSealing } from "./endbr.ts";
import { applyFtrace } from "./ftrace.ts";
import { applyHypercallPage } from "./hypercall-page.ts";
import { type InFlightPoke, inFlightPokes } from "./in-flight.ts";
import { applyJumpLabels } from "./jump-labels.ts";
import { applyKprobes } from "./kprobes.ts";
import { applyParavirt } from "./paravirt.ts";
import { PatchSpace, patchRegion } from "./patch-space.ts";
import type { PatchState } from "./patch-state.ts";
import { applyRetpolines } from "./retpolines.ts";
import { applyReturns } from "./returns.ts";
import { applyRuntimeConsts } from "./runtime-consts.ts";
import type { SiteList, UnknownPart } from "./site.ts";
import { applySmpLocks } from "./smp-locks.ts";
import { applyStaticCalls } from "./static-calls.ts";
import { tellUnknownTables } from "./unknown-tables.ts";

/**
 * 5.10 patches paravirt calls last, 6.1 first; in 5.10 these never share bytes with alternatives, so one order serves
 * both. Static calls and jump labels are written at boot before alternatives and again later: the last writer wins.
 */
const ORDER: readonly Mechanism[] = [
  applyParavirt,
  applyCfi,
  applyRetpolines,
  applyReturns,
  applyAlternatives,
  applyEndbrSealing,
  applyCfiSealing,
  applySmpLocks,
  applyRuntimeConsts,
  applyJumpLabels,
  applyStaticCalls,
  applyFtrace,
  applyBpfDispatchers,
  applyKprobes,
  applyHypercallPage,
  passOverCfi,
];

export interface ReplayedObject {
  readonly object: BuiltObject;
  readonly space: PatchSpace;
  readonly sites: readonly SiteList[];
  readonly inFlight: readonly InFlightPoke[];
  readonly problems: readonly string[];
  readonly unknown: readonly UnknownPart[];
}

/**
 * Computes the intended layer of one object.
 * @throws MissingError when the dump does not tell the CPU's features: nearly everything follows from them
 */
export function replayObject(kernel: Kernel, object: BuiltObject, state: PatchState): ReplayedObject {
  if (kernel.features.words.length === 0) {
    throw new MissingError("the CPU's features (boot_cpu_data)", "what patching wrote follows from them");
  }
  const regions = object.text.map((section) => patchRegion(section.name, section.start, section.bytes, true));
  const replacements = object.section(".altinstr_replacement");
  if (replacements !== undefined && !object.text.some((section) => section.start === replacements.start)) {
    regions.push(patchRegion(replacements.name, replacements.start, replacements.bytes, false));
  }
  const context: SiteContext = {
    kernel,
    object,
    space: new PatchSpace(regions),
    state,
    problems: [],
    unknown: [],
  };
  // Before all mechanisms: what these write over such a place is known all the same.
  for (const { offset, length, symbol } of object.unknownPlaces ?? [])
    context.space.forget(offset, length, "relocations", `address of ${symbol}`);
  const sites: SiteList[] = [];
  const booting = mayBePending(context);
  const calls = state.callDepth ? applyCallThunks : undefined;
  const order =
    calls === undefined
      ? ORDER
      : ORDER.flatMap((mechanism) => {
          if (mechanism !== applyAlternatives) return [mechanism];
          return callsComeFirst(context) ? [calls, mechanism] : [mechanism, calls];
        });
  for (const mechanism of order) {
    const before = booting ? new Before(context.space) : undefined;
    const list = mechanism(context);
    if (list === undefined) continue;
    sites.push(before === undefined ? list : holdBackPending(context, list, before));
  }
  tellUnknownTables(context);
  return {
    object,
    space: context.space,
    sites,
    inFlight: inFlightPokes(context, sites),
    problems: context.problems,
    unknown: context.unknown,
  };
}
