// Call depth tracking (X86_FEATURE_CALL_DEPTH, retbleed=stuff; 6.2 and newer): calls in .call_sites are led into the
// padding in front of their function, where a counting sequence is written (arch/x86/kernel/callthunks.c).
import type { KernelOffset } from "../bytes/brand.ts";
import type { SiteContext } from "./context.ts";

/** callthunks_translate_call_dest(): the function itself while call depth is not tracked. */
export function callThunkTarget(_context: SiteContext, func: KernelOffset): KernelOffset {
  return func;
}
