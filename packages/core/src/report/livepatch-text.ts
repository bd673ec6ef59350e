// The section "Livepatches" of `info`.
import type { LivepatchFact, LivepatchFunctionFact } from "../results/livepatch-results.ts";
import { bare, counted } from "./format.ts";
import type { Paint } from "./paint.ts";

const STATES: Readonly<Record<LivepatchFunctionFact["state"], string>> = {
  replaced: "runs",
  overridden: "has, under a later patch,",
  transition: "is in transition to or from",
  off: "is not patched now; would run",
};

/** Its lines; empty without livepatches. */
export function livepatchLines(patches: readonly LivepatchFact[], paint: Paint): string[] {
  if (patches.length === 0) return [];
  const lines = ["", paint.bold(counted(patches.length, "livepatch", "livepatches"))];
  for (const { name, enabled, functions } of patches) {
    lines.push(`  ${name}  ${enabled ? "enabled" : "disabled"}, ${counted(functions.length, "function")}`);
    for (const each of functions) {
      const object = each.object === "vmlinux" ? "" : ` [${each.object}]`;
      const at = each.address === null ? "" : `${bare(each.address)} `;
      lines.push(`    ${at}${each.name}${object} ${STATES[each.state]} ${each.replacement}`);
    }
  }
  return lines;
}
