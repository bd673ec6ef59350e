// What the code does with spinlocks: slots, the sites that go through them, and what is wrong there: slots that were changed
// after the sites that use them (slot.late-write), a lock type taken by one implementation and released by another (lock.mixed).

import type { Kernel } from "../../kernel/kernel.ts";
import type { Finding } from "../../results/types.ts";
import { Implementations } from "../code/implementation.ts";
import { type LockSite, lockSitesOf } from "../code/lock-sites.ts";
import { type LockSlot, readLockSlots } from "../code/slots.ts";
import { LockState } from "../lock-state.ts";
import type { AuditedObject } from "../types.ts";
import { lateWrites, sitesPatchedBefore } from "./late-write.ts";
import { mixedLock } from "./mixed.ts";

export interface LockSurvey {
  readonly slots: readonly LockSlot[];
  readonly sites: readonly LockSite[];
  readonly state: LockState;
  /** lock.mixed and slot.late-write; none for a kernel without paravirt lock slots */
  readonly findings: readonly Finding[];
}

/** Slots, sites and what they show of the audited objects. */
export function surveyLocks(kernel: Kernel, objects: readonly AuditedObject[]): LockSurvey {
  const implementations = new Implementations(kernel);
  const slots = readLockSlots(kernel, implementations);
  const sites =
    slots.length === 0 ? [] : objects.flatMap((object) => lockSitesOf(kernel, object, slots, implementations));
  const state = new LockState(kernel, implementations, sites);
  if (slots.length === 0) return { slots, sites, state, findings: [] };
  const before = sitesPatchedBefore(sites);
  const late = lateWrites(kernel, slots, sites, before, implementations);
  const mixed = mixedLock({ kernel, slots, sites, before, objects, implementations, state });
  return { slots, sites, state, findings: mixed === undefined ? late : [mixed, ...late] };
}
