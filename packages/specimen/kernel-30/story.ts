// What happened to a 3.0-era kernel: which spinlock functions each part of it was patched with, and how its boot orders
// the two steps that must not be swapped.
import type { LockSide } from "./paravirt.ts";

/**
 * "hung": the bug; "healthy": the same image on a host without callback vectors; "pv-off": built without
 * CONFIG_PARAVIRT_SPINLOCKS; "both-xen": an image that switches before it patches; "2.6.38": one that never switches.
 */
export type Variant = "hung" | "healthy" | "pv-off" | "both-xen" | "2.6.38";

export interface Story {
  readonly variant: Variant;
  readonly release: string;
  /** CONFIG_PARAVIRT_SPINLOCKS */
  readonly pvLocks: boolean;
  /** NR_CPUS of 256 and more: 16-bit halves in a ticket lock */
  readonly wide: boolean;
  /** what core sites were patched with at check_bugs() time */
  readonly core: LockSide;
  /** what module sites were patched with when the module was loaded */
  readonly module: LockSide;
  /** what pv_lock_ops holds at the time of the dump */
  readonly now: LockSide;
  /** where the image calls xen_init_spinlocks() for an HVM guest: after patching, before it, or not at all */
  readonly order: "late" | "early" | "none";
  /** CPUs spin for ever on floppy_lock */
  readonly hung: boolean;
}

const BASE = { release: "3.0.0-9-generic", pvLocks: true, core: "ticket", module: "ticket", now: "ticket" } as const;

export function tell(variant: Variant, wide = false): Story {
  const common = { ...BASE, variant, wide, hung: variant === "hung" };
  switch (variant) {
    case "hung":
      return { ...common, module: "xen", now: "xen", order: "late" };
    case "healthy":
      return { ...common, order: "late" };
    case "pv-off":
      return { ...common, pvLocks: false, order: "late" };
    case "both-xen":
      return { ...common, core: "xen", module: "xen", now: "xen", order: "early" };
    case "2.6.38":
      return { ...common, release: "2.6.38-8-generic", order: "none" };
  }
}
