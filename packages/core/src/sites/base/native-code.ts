// What native_patch() inlines in place of a call through a paravirt slot: the instructions themselves, by slot name
// (arch/x86/kernel/paravirt_patch.c in 5.10, paravirt_patch_64.c before).

/** 5.13 and newer inline by alternatives instead and have no native_patch. */
export const NATIVE: Readonly<Record<string, readonly number[]>> = {
  "irq.irq_disable": [0xfa],
  "irq.irq_enable": [0xfb],
  "irq.save_fl": [0x9c, 0x58],
  "irq.restore_fl": [0x57, 0x9d],
  "mmu.read_cr2": [0x0f, 0x20, 0xd0],
  "mmu.read_cr3": [0x0f, 0x20, 0xd8],
  "mmu.write_cr3": [0x0f, 0x22, 0xdf],
  "cpu.wbinvd": [0x0f, 0x09],
  "cpu.usergs_sysret64": [0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07],
  "cpu.swapgs": [0x0f, 0x01, 0xf8],
};
/** Only up to 4.19, where each group is a structure of its own. */
export const NATIVE_OLD: Readonly<Record<string, readonly number[]>> = {
  "mmu.flush_tlb_single": [0x0f, 0x01, 0x3f],
  "cpu.iret": [0x48, 0xcf],
  "cpu.clts": [0x0f, 0x06],
  "cpu.irq_enable_sysexit": [0x0f, 0x01, 0xf8, 0xfb, 0x0f, 0x35],
  "cpu.usergs_sysret32": [0x0f, 0x01, 0xf8, 0x0f, 0x07],
};
/** Slots that are jumped through (they do not return). */
export const JUMPS = new Set(["cpu.iret", "cpu.usergs_sysret64", "cpu.usergs_sysret32", "cpu.irq_enable_sysexit"]);

/** Inlined only while the slot holds the native function (native_patch(), 4.2 to 5.12). */
export const NATIVE_LOCKS: Readonly<Record<string, { readonly function: string; readonly code: readonly number[] }>> = {
  "lock.queued_spin_unlock": {
    function: "__raw_callee_save___native_queued_spin_unlock",
    code: [0xc6, 0x07, 0x00],
  },
  "lock.vcpu_is_preempted": { function: "__raw_callee_save___native_vcpu_is_preempted", code: [0x31, 0xc0] },
};
