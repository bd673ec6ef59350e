// Paravirt slots: values and names of the members of pv_ops (pv_lock_ops and its siblings before 4.20).

import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import type { SiteContext } from "./context.ts";
import { nearestName } from "./context.ts";

export interface PvSlotValue {
  /** the function's offset; undefined for NULL or a value outside the kernel's 2 GiB */
  readonly target: KernelOffset | undefined;
  readonly raw: bigint;
}

/** Reads slots, each once. */
export class PvSlots {
  private readonly values = new Map<KernelOffset, PvSlotValue | null>();

  constructor(private readonly context: SiteContext) {}

  /** The slot's value now; undefined when its page is not in the dump. */
  value(slot: KernelOffset): PvSlotValue | undefined {
    let value = this.values.get(slot);
    if (value === undefined) {
      const bytes =
        slot >= 0 && slot < 2 ** 31 ? this.context.kernel.memory.tryRead(fromKernelOffset(slot), 8) : undefined;
      if (bytes === undefined) value = null;
      else {
        const raw = getU64(bytes, 0);
        value = { raw, target: raw === 0n ? undefined : toKernelOffset(raw) };
      }
      this.values.set(slot, value);
    }
    return value ?? undefined;
  }

  /** "pv_ops.lock.queued_spin_unlock" by BTF, else "pv_lock_ops+0x28". */
  name(slot: KernelOffset): string {
    const { kernel } = this.context;
    for (const [symbol, type] of PV_STRUCTURES) {
      const base = this.context.state.symbol(symbol);
      const size = kernel.types.sizeOf(type);
      if (base === undefined || size === undefined || slot < base || slot >= base + size) continue;
      const path = memberPath(this.context, type, slot - base, 0);
      if (path !== undefined) return `${symbol}.${path}`;
    }
    return nearestName(kernel, slot);
  }
}

const PV_STRUCTURES: readonly (readonly [string, string])[] = [
  ["pv_ops", "struct paravirt_patch_template"],
  ["pv_ops_lock", "struct pv_lock_ops"],
  ["pv_lock_ops", "struct pv_lock_ops"],
  ["pv_irq_ops", "struct pv_irq_ops"],
  ["pv_cpu_ops", "struct pv_cpu_ops"],
  ["pv_mmu_ops", "struct pv_mmu_ops"],
  ["pv_apic_ops", "struct pv_apic_ops"],
  ["pv_time_ops", "struct pv_time_ops"],
  ["pv_init_ops", "struct pv_init_ops"],
];

/** "lock.queued_spin_unlock" for a byte offset into a structure, down to the member that starts there. */
function memberPath(context: SiteContext, type: string, offset: number, depth: number): string | undefined {
  if (depth > 4) return undefined;
  for (const member of context.kernel.types.members(type) ?? []) {
    if (offset < member.offset || offset >= member.offset + member.size) continue;
    const inner = /^struct \w+$/.test(member.typeName)
      ? memberPath(context, member.typeName, offset - member.offset, depth + 1)
      : undefined;
    if (inner === undefined || inner === "func") return member.name;
    return `${member.name}.${inner.replace(/\.func$/, "")}`;
  }
  return undefined;
}
