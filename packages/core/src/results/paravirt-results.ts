// What `info` tells in its section "Paravirtualisation": the slots, the hypervisor, and what decides which spinlocks there are.

/** A slot through which the kernel takes or releases spinlocks. */
export interface LockSlotFact {
  /** "pv_ops.lock.queued_spin_unlock" */
  readonly name: string;
  /** "0x…" */
  readonly address: string;
  /** "0x…"; null when its page is not in the dump */
  readonly value: string | null;
  /** the function, or "NULL" */
  readonly symbol: string;
  /** "ticket", "Xen byte lock", "native queued", "paravirt queued"; null when nothing tells */
  readonly implementation: string | null;
  /** whose waiting and waking it is: "KVM", "Xen", "Hyper-V" */
  readonly hypervisor: string | null;
}

export interface NamedValue {
  readonly name: string;
  readonly value: string;
}

export interface ParavirtFacts {
  /** What the core's out-of-line functions take spinlocks with: "native queued", "paravirt queued, waiting through Xen" … */
  readonly spinlocks: string;
  /** What the kernel itself says about its hypervisor. */
  readonly hypervisor: readonly NamedValue[];
  readonly lockSlots: readonly LockSlotFact[];
  /** All other slots of pv_ops (pv_*_ops before 4.20). */
  readonly otherSlots: readonly {
    readonly name: string;
    readonly symbol: string;
    /** a native_ function, a NOP or an identity */
    readonly native: boolean;
  }[];
  readonly smpOps: readonly NamedValue[];
  /** Boot options, static keys and CPU feature bits that decide about locks. */
  readonly keys: readonly NamedValue[];
}
