// The words of the room locks/: what an operation on a lock does (role), by which implementation, and what the audit hands
// over. Nothing here reads a dump.
import type { KernelOffset } from "../bytes/brand.ts";
import type { PatchRegion } from "../sites/base/patch-space.ts";
import type { ReplayedObject } from "../sites/replay.ts";

/** What a slot, a site or a function does to a lock. "wait" and "kick" are how a paravirtual waiter sleeps and is woken. */
export type LockRole = "lock" | "trylock" | "unlock" | "test" | "wait" | "kick" | "preempted";

/** Ways to take and release a spinlock. Two operations of one lock belong together when their families are equal. */
export type LockFamily = "ticket" | "byte" | "queued" | "pv-queued" | "none" | "unknown";

export interface Implementation {
  readonly family: LockFamily;
  /** Who puts waiters to sleep and wakes them, where the function tells. */
  readonly hypervisor?: "KVM" | "Xen" | "Hyper-V";
  /** "ticket", "Xen byte lock", "native queued", "paravirt queued": for people. */
  readonly name: string;
  /** The function that does the work at the end of all thunks ("__ticket_spin_lock"), or what is inlined. */
  readonly code: string;
  readonly address?: KernelOffset;
  /** What told the family. */
  readonly evidence: "symbol" | "code" | "inlined code";
}

/** What locks/ needs of an audited object; the audit's ObjectAudit is one. */
export interface AuditedObject {
  readonly name: string;
  readonly replayed: ReplayedObject;
  readonly found: ReadonlyMap<
    PatchRegion,
    { readonly bytes: Uint8Array; readonly absent: readonly { readonly offset: number; readonly length: number }[] }
  >;
}

/** Operations that put a lock word from free to taken. */
export const takes = (role: LockRole): boolean => role === "lock" || role === "trylock";
