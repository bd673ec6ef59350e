// In which function of a lock a CPU stands: by the names that kernels have for them, and by what lock slots and sites lead to.
import { type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Frame } from "../../tasks/backtrace.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockFamily } from "../types.ts";

export interface WaitFunction {
  readonly kind: "spinlock" | "reader" | "writer";
  readonly family: LockFamily;
}

const NAMED: readonly (readonly [RegExp, WaitFunction])[] = [
  [/^queued?_read_lock_slowpath$|^__read_lock_failed$/, { kind: "reader", family: "queued" }],
  [/^queued?_write_lock_slowpath$|^__write_lock_failed$/, { kind: "writer", family: "queued" }],
  [/^_*ticket_spin_lock$/, { kind: "spinlock", family: "ticket" }],
  [/^(native_)?queued_spin_lock_slowpath$/, { kind: "spinlock", family: "queued" }],
  [/^__pv_queued_spin_lock_slowpath$/, { kind: "spinlock", family: "pv-queued" }],
  [/^xen_spin_lock(_slow|_flags)?$/, { kind: "spinlock", family: "byte" }],
];
/** Ticket locks of 3.12 and newer are inlined into the out-of-line functions. */
const OUT_OF_LINE = /^_raw_spin_lock(_bh|_irq|_irqsave)?$/;
/** kernel functions in which a paravirt waiter sleeps */
const SLEEPS = /^(kvm_wait|xen_qlock_wait|xen_poll_irq|hv_qlock_wait|pv_wait|native_safe_halt|native_halt)|sleep|wait/;

/** A function's symbol without what compilers append: "foo.constprop.0" → "foo". */
export const bareName = ({ place }: Frame): string => place.symbol.replace(/\.(part|constprop|isra|cold|llvm).*$/, "");

export class WaitFunctions {
  /**
   * @param takers functions that slots or sites use to take spinlocks, beyond those known by name
   * @param family what the kernel's own out-of-line functions run
   */
  constructor(
    private readonly implementations: Implementations,
    private readonly takers: ReadonlySet<KernelOffset>,
    private readonly family: () => LockFamily,
  ) {}

  /** The lock function that the frame is in; undefined for all other code. */
  of(frame: Frame, innermost: boolean): WaitFunction | undefined {
    const name = bareName(frame);
    const named = NAMED.find(([pattern]) => pattern.test(name))?.[1];
    if (named !== undefined) return named;
    if (innermost && OUT_OF_LINE.test(name) && this.family() === "ticket")
      return { kind: "spinlock", family: "ticket" };
    const offset = toKernelOffset(frame.start);
    if (offset === undefined || !this.takers.has(offset)) return undefined;
    return { kind: "spinlock", family: this.implementations.of(offset, "lock").family };
  }

  /** A function that puts a waiter to sleep: a wait slot's, or one of theirs. */
  sleeps(frame: Frame): boolean {
    return SLEEPS.test(bareName(frame));
  }
}
