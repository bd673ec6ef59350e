// Livepatches as plain facts: which function runs what, at the moment of the dump.
import { formatAddress, toKernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type LivepatchFunction, livepatches, livepatchOf } from "../kernel/records/livepatch-records.ts";
import type { LivepatchFact, LivepatchFunctionFact } from "../results/livepatch-results.ts";
import { nearestName } from "../sites/base/context.ts";

/** All livepatches in the order in which they were enabled. */
export function livepatchFacts(kernel: Kernel, problems: string[]): LivepatchFact[] {
  return livepatches(kernel, problems).map((patch) => ({
    name: patch.module,
    enabled: patch.enabled,
    functions: patch.functions.map((func) => {
      const replacement = toKernelOffset(func.replacement);
      const givenBack = func.old !== 0n && func.replacement === func.old;
      return {
        object: func.object,
        name: func.name,
        address: func.old === 0n ? null : formatAddress(func.old),
        replacement: givenBack
          ? "itself: the replacement of an earlier patch is taken back"
          : replacement === undefined
            ? "none"
            : nearestName(kernel, replacement),
        state: stateOf(kernel, func, problems),
      };
    }),
  }));
}

function stateOf(kernel: Kernel, func: LivepatchFunction, problems: string[]): LivepatchFunctionFact["state"] {
  if (func.transition) return "transition";
  if (!func.patched) return "off";
  return livepatchOf(kernel, func.old, problems)?.func === func ? "replaced" : "overridden";
}
