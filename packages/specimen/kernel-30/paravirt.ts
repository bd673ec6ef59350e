// The pv_*_ops of Linux 3.0 (arch/x86/include/asm/paravirt_types.h): seven variables whose members, laid end to end,
// are the template that paravirt_patch_site.type counts in.

const GROUPS: Readonly<Record<string, string>> = {
  pv_init_ops: "patch",
  pv_time_ops: "sched_clock get_tsc_khz",
  pv_cpu_ops: `get_debugreg set_debugreg clts read_cr0 write_cr0 read_cr4_safe read_cr4 write_cr4 read_cr8 write_cr8
    load_tr_desc load_gdt load_idt store_gdt store_idt set_ldt store_tr load_tls load_gs_index write_ldt_entry
    write_gdt_entry write_idt_entry alloc_ldt free_ldt load_sp0 set_iopl_mask wbinvd io_delay cpuid read_msr rdmsr_regs
    write_msr wrmsr_regs read_tsc read_pmc read_tscp irq_enable_sysexit usergs_sysret64 usergs_sysret32 iret swapgs
    start_context_switch end_context_switch`,
  pv_irq_ops: "save_fl restore_fl irq_disable irq_enable safe_halt halt adjust_exception_frame",
  pv_apic_ops: "startup_ipi_hook",
  pv_mmu_ops: `read_cr2 write_cr2 read_cr3 write_cr3 activate_mm dup_mmap exit_mmap flush_tlb_user flush_tlb_kernel
    flush_tlb_single flush_tlb_others pgd_alloc pgd_free alloc_pte alloc_pmd alloc_pud release_pte release_pmd
    release_pud set_pte set_pte_at set_pmd set_pmd_at pte_update pte_update_defer pmd_update pmd_update_defer
    ptep_modify_prot_start ptep_modify_prot_commit pte_val make_pte pgd_val make_pgd set_pud pmd_val make_pmd pud_val
    make_pud set_pgd lazy_mode.enter lazy_mode.leave set_fixmap`,
  pv_lock_ops: "spin_is_locked spin_is_contended spin_lock spin_lock_flags spin_trylock spin_unlock",
};

const NOP =
  /^(alloc_ldt|free_ldt|start_context_switch|end_context_switch|adjust_exception_frame|startup_ipi_hook|activate_mm|dup_mmap|exit_mmap|(alloc|release)_p(te|md|ud)|p(te|md)_update(_defer)?|lazy_mode\.\w+)$/;
const IDENT = /^(make_)?p(te|gd|md|ud)(_val)?$/;
const SPECIAL: Readonly<Record<string, string>> = {
  patch: "native_patch",
  get_tsc_khz: "",
  irq_enable_sysexit: "",
  flush_tlb_user: "native_flush_tlb",
  flush_tlb_kernel: "native_flush_tlb_global",
  rdmsr_regs: "native_rdmsr_safe_regs",
  wrmsr_regs: "native_wrmsr_safe_regs",
  read_msr: "native_read_msr_safe",
  write_msr: "native_write_msr_safe",
  pgd_alloc: "__paravirt_pgd_alloc",
  ptep_modify_prot_start: "__ptep_modify_prot_start",
  ptep_modify_prot_commit: "__ptep_modify_prot_commit",
};

export type LockSide = "ticket" | "xen";

/** The functions of each spinlock implementation, in the order of struct pv_lock_ops. */
export const LOCK_FUNCTIONS: Readonly<Record<LockSide, readonly string[]>> = {
  ticket: [
    "__ticket_spin_is_locked",
    "__ticket_spin_is_contended",
    "__ticket_spin_lock",
    "default_spin_lock_flags",
    "__ticket_spin_trylock",
    "__ticket_spin_unlock",
  ],
  xen: [
    "xen_spin_is_locked",
    "xen_spin_is_contended",
    "xen_spin_lock",
    "xen_spin_lock_flags",
    "xen_spin_trylock",
    "xen_spin_unlock",
  ],
};

export interface PvMember {
  readonly group: string;
  readonly name: string;
  /** bytes from the group's variable */
  readonly offset: number;
  /** paravirt_patch_site.type */
  readonly index: number;
  /** function on bare hardware; "" for NULL */
  readonly value: string;
}

function value(group: string, name: string, i: number): string {
  if (group === "pv_lock_ops") return LOCK_FUNCTIONS.ticket[i];
  if (NOP.test(name)) return "_paravirt_nop";
  if (IDENT.test(name)) return "_paravirt_ident_64";
  return SPECIAL[name] ?? `native_${name}`;
}

export const PV_MEMBERS: readonly PvMember[] = Object.entries(GROUPS)
  .flatMap(([group, names]) =>
    names.split(/\s+/).map((name, i) => ({ group, name, offset: i * 8, value: value(group, name, i) })),
  )
  .map((m, index) => ({ ...m, index }));

export const PV_GROUPS = Object.keys(GROUPS);

/** "pv_lock_ops.spin_unlock" → the member. */
export function pvMember(path: string): PvMember {
  const dot = path.indexOf(".");
  const found = PV_MEMBERS.find((m) => m.group === path.slice(0, dot) && m.name === path.slice(dot + 1));
  if (!found) throw new Error(`no pv member ${path}`);
  return found;
}

/** C declarations of the groups and the template. */
export function pvDeclarations(): string {
  const groups = PV_GROUPS.map((group) => {
    const members = PV_MEMBERS.filter((m) => m.group === group).map(({ name }) => {
      if (name.startsWith("lazy_mode.")) return name.endsWith("enter") ? "struct pv_lazy_ops lazy_mode;" : "";
      return `void (*${name})(void);`;
    });
    return `struct ${group} { ${members.join(" ")} };`;
  });
  return `struct pv_lazy_ops { void (*enter)(void); void (*leave)(void); };
    ${groups.join("\n")}
    struct paravirt_patch_template { ${PV_GROUPS.map((g) => `struct ${g} ${g};`).join(" ")} };
    struct paravirt_patch_site { u8 *instr; u8 instrtype; u8 len; u16 clobbers; };`;
}
