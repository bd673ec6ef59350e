// All mechanisms over one object, in the order of the kernel (alternative_instructions(), module_finalize(), then what
// runs later). Replacement text is patched before it is used, as its bytes are sites too.
import type { BuiltObject } from "../built/object.ts";
import { MissingError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Before, holdBackPending, mayBePending } from "./base/boot-progress.ts";
import type { Mechanism, SiteContext } from "./base/context.ts";
import type { Era } from "./base/era.ts";
import { type InFlightPoke, inFlightPokes } from "./base/in-flight.ts";
import { PatchSpace, patchRegion } from "./base/patch-space.ts";
import type { PatchState } from "./base/patch-state.ts";
import type { SiteList, UnknownPart } from "./base/site.ts";
import { applyAlternatives } from "./mechanisms/alternatives.ts";
import { applyBpfDispatchers } from "./mechanisms/bpf-dispatcher.ts";
import { applyCallThunks, callsComeFirst } from "./mechanisms/call-thunks.ts";
import { applyCfi, applyCfiSealing, passOverCfi } from "./mechanisms/cfi.ts";
import { applyEndbrSealing } from "./mechanisms/endbr.ts";
import { applyFtrace } from "./mechanisms/ftrace.ts";
import { applyHypercallPage } from "./mechanisms/hypercall-page.ts";
import { applyJumpLabels } from "./mechanisms/jump-labels.ts";
import { applyKprobes } from "./mechanisms/kprobes.ts";
import { applyParavirt } from "./mechanisms/paravirt.ts";
import { applyRetpolines } from "./mechanisms/retpolines.ts";
import { applyReturns } from "./mechanisms/returns.ts";
import { applyRuntimeConsts } from "./mechanisms/runtime-consts.ts";
import { applySmpLocks } from "./mechanisms/smp-locks.ts";
import { applyStaticCalls } from "./mechanisms/static-calls.ts";
import { tellUnknownTables } from "./unknown/unknown-tables.ts";

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

/** What is replayed on, before anything is: the copy of the built text. */
export function prepareReplay(kernel: Kernel, object: BuiltObject, state: PatchState): SiteContext {
  const regions = object.text.map((section) => patchRegion(section.name, section.start, section.bytes, true));
  const replacements = object.section(".altinstr_replacement");
  if (replacements !== undefined && !object.text.some((section) => section.start === replacements.start)) {
    regions.push(patchRegion(replacements.name, replacements.start, replacements.bytes, false));
  }
  return { kernel, object, space: new PatchSpace(regions), state, problems: [], unknown: [] };
}

/**
 * Computes the intended layer of one object.
 * @param era read over all objects of the kernel (era.ts)
 * @throws MissingError when the dump does not tell the CPU's features: nearly everything follows from them
 */
export function replay(prepared: SiteContext, era: Era): ReplayedObject {
  const context: SiteContext = { ...prepared, era };
  const { kernel, object, state } = context;
  if (kernel.features.words.length === 0) {
    throw new MissingError("the CPU's features (boot_cpu_data)", "what patching wrote follows from them");
  }
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
