// How this kernel is paravirtualised: its slots, its hypervisor as it knows it itself, and the switches that decide which
// spinlocks it has.
import { addressAdd, formatAddress, fromKernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { machineOf } from "../../kernel/machine.ts";
import type { LockSlotFact, NamedValue, ParavirtFacts } from "../../results/paravirt-results.ts";
import { Implementations } from "../code/implementation.ts";
import { type LockSlot, readLockSlots } from "../code/slots.ts";
import { SpinlockWords } from "../words/spinlock-word.ts";

/** Groups of slots and their types: one structure since 4.20, several before. */
const GROUPS: readonly (readonly [string, string])[] = [
  ["pv_ops", "struct paravirt_patch_template"],
  ["pv_ops_lock", "struct pv_lock_ops"],
  ["pv_init_ops", "struct pv_init_ops"],
  ["pv_time_ops", "struct pv_time_ops"],
  ["pv_cpu_ops", "struct pv_cpu_ops"],
  ["pv_irq_ops", "struct pv_irq_ops"],
  ["pv_apic_ops", "struct pv_apic_ops"],
  ["pv_mmu_ops", "struct pv_mmu_ops"],
];
/** Functions that do what bare metal does. */
const NATIVE =
  /^(__raw_callee_save_)?_*((pv_)?native_|paravirt_(nop|ident|pgd_alloc)|nop_func|x86_nop|paravirt_BUG|BUG_func|ptep_modify_prot|tlb_remove_(page|table)|kdump_nmi)/;
/** enum xen_domain_type (include/xen/xen.h) */
const XEN_DOMAINS = ["0 (no Xen domain)", "1 (PV)", "2 (HVM or PVH)"];
/** arch/x86/include/asm/cpufeatures.h: Linux-defined word 8, and the hypervisor bit of CPUID 1 */
const FEATURES: readonly (readonly [number, string])[] = [
  [4 * 32 + 31, "CPUID says that there is a hypervisor"],
  [8 * 32 + 16, "X86_FEATURE_XENPV"],
  [8 * 32 + 20, "X86_FEATURE_PVUNLOCK"],
  [8 * 32 + 21, "X86_FEATURE_VCPUPREEMPT"],
];
const KEYS = ["virt_spin_lock_key", "paravirt_ticketlocks_enabled", "paravirt_steal_enabled"];

/** All of it. What this kernel does not have is left out. */
export function paravirtFacts(kernel: Kernel): ParavirtFacts {
  const implementations = new Implementations(kernel);
  const slots = readLockSlots(kernel, implementations);
  const locks = new Set(slots.map((slot) => slot.offset));
  return {
    spinlocks: spinlocksOf(kernel, implementations, slots),
    hypervisor: hypervisorFacts(kernel),
    lockSlots: slots.map(slotFact),
    otherSlots: GROUPS.flatMap(([symbol, type]) => {
      const base = kernel.find(symbol);
      return base === undefined ? [] : slotsOf(kernel, base, type, symbol, 0);
    })
      .filter(({ at }) => !locks.has(toKernelOffset(at) ?? -1))
      .map(({ at, name }) => {
        const value = functionName(kernel, implementations, at);
        return { name, symbol: value, native: value === "NULL" || NATIVE.test(value) };
      }),
    smpOps: smpOps(kernel, implementations),
    keys: keyFacts(kernel),
  };
}

export function slotFact(slot: LockSlot): LockSlotFact {
  const family = slot.implementation?.family;
  return {
    name: slot.name,
    address: formatAddress(fromKernelOffset(slot.offset)),
    value: slot.value === undefined ? null : formatAddress(slot.value),
    symbol: slot.symbol,
    implementation:
      family === undefined || !/^(lock|trylock|unlock|test)$/.test(slot.role) || family === "unknown"
        ? null
        : (slot.implementation?.name ?? null),
    hypervisor: slot.implementation?.hypervisor ?? null,
  };
}

function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

function spinlocksOf(kernel: Kernel, implementations: Implementations, slots: readonly LockSlot[]): string {
  const words = new SpinlockWords(kernel, implementations);
  const { family } = words;
  const rt = words.isRtMutex ? "; spinlock_t is an rt_mutex (PREEMPT_RT)" : "";
  const names = { ticket: "ticket", byte: "byte lock", queued: "native queued", "pv-queued": "paravirt queued" };
  const name = family === "unknown" || family === "none" ? "unknown" : names[family];
  const wait = slots.find((slot) => slot.role === "wait")?.implementation?.hypervisor;
  const through = family === "pv-queued" && wait !== undefined ? `, waiting through ${wait}` : "";
  const without = slots.length === 0 ? "; no slots (CONFIG_PARAVIRT_SPINLOCKS is off)" : "";
  return `${name}${through}${rt}${without}`;
}

/** Leaves of a structure of function pointers. */
function slotsOf(
  kernel: Kernel,
  base: VirtualAddress,
  type: string,
  prefix: string,
  depth: number,
): { at: VirtualAddress; name: string }[] {
  if (depth > 3) return [];
  return (kernel.types.members(type) ?? []).flatMap((member) => {
    const at = addressAdd(base, member.offset);
    const name = `${prefix}.${member.name}`;
    if (/^struct \w+$/.test(member.typeName) && member.size > 8) {
      return slotsOf(kernel, at, member.typeName, name, depth + 1);
    }
    return member.size === 8 ? [{ at, name }] : [];
  });
}

function functionName(kernel: Kernel, implementations: Implementations, at: VirtualAddress): string {
  const value = attempt(() => kernel.memory.u64(at));
  if (value === undefined) return "not in the dump";
  const target = toKernelOffset(value);
  if (value === 0n) return "NULL";
  return target === undefined ? formatAddress(value) : implementations.nameOf(target);
}

function smpOps(kernel: Kernel, implementations: Implementations): NamedValue[] {
  const base = kernel.find("smp_ops");
  if (base === undefined) return [];
  const members = kernel.types.members("struct smp_ops");
  if (members !== undefined && members.length > 0) {
    return members.map(({ name, offset }) => ({
      name,
      value: functionName(kernel, implementations, addressAdd(base, offset)),
    }));
  }
  // Without a layout: the pointers in order, up to the next symbol. The second was smp_prepare_cpus in every release.
  const size = Math.min(kernel.symbols.nearest(base)?.size ?? 0, 128);
  const names = ["smp_prepare_boot_cpu", "smp_prepare_cpus", "smp_cpus_done"];
  return Array.from({ length: size >> 3 }, (_, i) => ({
    name: names[i] ?? `+0x${(i * 8).toString(16)}`,
    value: functionName(kernel, implementations, addressAdd(base, i * 8)),
  })).filter(({ value }) => !value.startsWith("0x"));
}

/** A variable that memory still holds: what was __initdata is gone with init memory. */
function kept(kernel: Kernel, name: string): VirtualAddress | undefined {
  const at = kernel.find(name);
  const start = kernel.find("__init_begin");
  const end = kernel.find("__init_end");
  const init = at !== undefined && start !== undefined && end !== undefined && at >= start && at < end;
  return init && kernel.initFreed ? undefined : at;
}

function hypervisorFacts(kernel: Kernel): NamedValue[] {
  const { memory } = kernel;
  const out: NamedValue[] = [{ name: "hypervisor", value: machineOf(kernel).hypervisor ?? "unknown" }];
  const add = (name: string, read: () => string | undefined): void => {
    const value = kept(kernel, name) === undefined ? undefined : attempt(read);
    if (value !== undefined) out.push({ name, value });
  };
  const domain = kept(kernel, "xen_domain_type");
  const isXen = domain !== undefined && attempt(() => memory.u32(domain)) !== 0;
  const flag = (name: string): void => add(name, () => (memory.u8(kernel.address(name)) === 0 ? "no" : "yes"));
  add("xen_domain_type", () => {
    const value = memory.u32(kernel.address("xen_domain_type"));
    return XEN_DOMAINS[value] ?? String(value);
  });
  if (isXen) {
    flag("xen_have_vector_callback");
    flag("xen_pvspin");
  }
  // struct ms_hyperv_info {u32 features; …}: zero unless Hyper-V was found
  add("ms_hyperv", () => {
    const features = memory.u32(kernel.address("ms_hyperv"));
    return features === 0 ? undefined : `features 0x${features.toString(16)}`;
  });
  return out;
}

function keyFacts(kernel: Kernel): NamedValue[] {
  const { memory } = kernel;
  const out: NamedValue[] = [];
  for (const name of ["nopvspin", "xen_nopvspin"]) {
    const at = kept(kernel, name);
    const value = at === undefined ? undefined : attempt(() => memory.u8(at));
    if (value !== undefined) out.push({ name, value: value === 0 ? "no" : "yes" });
  }
  for (const name of KEYS) {
    const at = kept(kernel, name);
    // struct static_key begins with its count.
    const enabled = at === undefined ? undefined : attempt(() => memory.i32(at));
    if (enabled !== undefined) out.push({ name, value: enabled === 0 ? "disabled" : "enabled" });
  }
  for (const [bit, name] of FEATURES) {
    // Words that this kernel does not have are all zero, so that a set bit is one it knows.
    if (kernel.features.has(bit)) out.push({ name, value: "set" });
  }
  return out;
}
