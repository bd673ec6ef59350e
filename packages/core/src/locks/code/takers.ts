// Functions that take a spinlock although their names tell nothing: those that lock slots lead to now, and those that sites
// were patched to.
import type { KernelOffset } from "../../bytes/brand.ts";
import { type LockRole, takes } from "../types.ts";

interface Taker {
  readonly role: LockRole;
  readonly target?: KernelOffset | undefined;
}

/** Starts of the functions that take locks, of slots and of sites. */
export function takersOf(
  slots: readonly Taker[],
  sites: readonly { readonly slot: Taker; readonly target?: KernelOffset | undefined }[] = [],
): Set<KernelOffset> {
  const out = new Set<KernelOffset>();
  const add = (role: LockRole, target: KernelOffset | undefined): void => {
    if (takes(role) && target !== undefined) out.add(target);
  };
  for (const { role, target } of slots) add(role, target);
  for (const { slot, target } of sites) add(slot.role, target);
  return out;
}
