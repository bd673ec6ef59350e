// What is wrong with a kernel's spinlocks as its sites were patched: slots that were changed after the sites that use them
// (slot.late-write), and a lock type that is taken by one implementation and released by another (lock.mixed).
import type { LockMixed, SlotLateWrite } from "../findings/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Implementations } from "./implementation.ts";
import { lateWrites, sitesPatchedBefore } from "./late-write.ts";
import { lockSitesOf } from "./lock-sites.ts";
import { mixedLock } from "./mixed.ts";
import { readLockSlots } from "./slots.ts";
import type { AuditedObject } from "./types.ts";

/** All findings about spinlock implementations. Empty for a kernel without paravirt lock slots. */
export function lockFindings(kernel: Kernel, objects: readonly AuditedObject[]): (LockMixed | SlotLateWrite)[] {
  const implementations = new Implementations(kernel);
  const slots = readLockSlots(kernel, implementations);
  if (slots.length === 0) return [];
  const sites = objects.flatMap((object) => lockSitesOf(kernel, object, slots, implementations));
  const before = sitesPatchedBefore(sites);
  const late = lateWrites(kernel, slots, sites, before, implementations);
  const mixed = mixedLock({ kernel, slots, sites, before, objects, implementations });
  return mixed === undefined ? late : [mixed, ...late];
}
