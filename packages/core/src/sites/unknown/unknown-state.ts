// State of a mechanism that this kernel keeps in a way that Palimpsest does not know: one finding `unknown.state`, instead of
// a finding for each site that follows from it.
import type { SiteContext } from "../base/context.ts";
import type { MechanismName } from "../base/mechanisms.ts";

/**
 * Tells it once, with the core.
 * @param symbol where the state lies; nothing is told for a kernel without it
 * @param what "the layout of struct dyn_ftrace.flags in BTF …"
 * @param effect "ftrace sites are not judged"
 */
export function tellUnknownState(
  context: SiteContext,
  mechanism: MechanismName,
  symbol: string,
  what: string,
  effect: string,
): void {
  const { kernel, object, unknown } = context;
  const address = kernel.find(symbol);
  if (object.name !== "vmlinux" || address === undefined) return;
  const length = Math.min(4096, kernel.symbols.nearest(address)?.size ?? 8);
  if (unknown.some((part) => part.address === address && part.mechanism === mechanism)) return;
  unknown.push({ id: "unknown.state", mechanism, object: object.name, address, length, what: `${what}: ${effect}` });
}
