// The pv_ops template of a 6.1 kernel (arch/x86/include/asm/paravirt_types.h, 5-level page tables, IOPL): its
// members in order, and the function that each holds on bare hardware.

const MEMBERS: Readonly<Record<string, string>> = {
  cpu: `io_delay get_debugreg set_debugreg read_cr0 write_cr0 write_cr4 load_tr_desc load_gdt load_idt set_ldt
    store_tr load_tls load_gs_index write_ldt_entry write_gdt_entry write_idt_entry alloc_ldt free_ldt load_sp0
    invalidate_io_bitmap update_io_bitmap wbinvd cpuid read_msr write_msr read_msr_safe write_msr_safe read_pmc
    start_context_switch end_context_switch`,
  irq: "save_fl* irq_disable* irq_enable* safe_halt halt",
  mmu: `flush_tlb_user flush_tlb_kernel flush_tlb_one_user flush_tlb_multi tlb_remove_table exit_mmap
    notify_page_enc_status_changed read_cr2* write_cr2 read_cr3 write_cr3 activate_mm dup_mmap pgd_alloc pgd_free
    alloc_pte alloc_pmd alloc_pud alloc_p4d release_pte release_pmd release_pud release_p4d set_pte set_pmd
    ptep_modify_prot_start ptep_modify_prot_commit pte_val* make_pte* pgd_val* make_pgd* set_pud pmd_val* make_pmd*
    pud_val* make_pud* set_p4d p4d_val* make_p4d* set_pgd lazy_mode.enter lazy_mode.leave lazy_mode.flush set_fixmap`,
  lock: "queued_spin_lock_slowpath queued_spin_unlock* wait kick vcpu_is_preempted*",
};

/** paravirt_nop members: calls to them are patched into nops. */
const NOP =
  /\.(alloc_ldt|free_ldt|start_context_switch|end_context_switch|exit_mmap|notify_page_enc_status_changed|activate_mm|dup_mmap|(alloc|release)_p(te|md|ud|4d)|lazy_mode\.\w+|wait|kick)$/;
const IDENT = /\.(make_)?p(te|gd|md|ud|4d)(_val)?$/;

export interface PvMember {
  /** "irq.irq_disable" */
  readonly path: string;
  /** index in pointers: paravirt_patch_site.type */
  readonly index: number;
  /** held in a struct paravirt_callee_save */
  readonly calleeSave: boolean;
  /** the function it holds */
  readonly value: string;
}

function native(path: string): string {
  if (NOP.test(path)) return "_paravirt_nop";
  if (IDENT.test(path)) return "_paravirt_ident_64";
  const special: Readonly<Record<string, string>> = {
    "irq.irq_disable": "pv_native_irq_disable",
    "irq.irq_enable": "pv_native_irq_enable",
    "mmu.read_cr2": "pv_native_read_cr2",
    "mmu.write_cr2": "pv_native_write_cr2",
    "mmu.read_cr3": "__native_read_cr3",
    "mmu.flush_tlb_user": "native_flush_tlb_local",
    "mmu.flush_tlb_kernel": "native_flush_tlb_global",
    "mmu.tlb_remove_table": "tlb_remove_page",
    "mmu.pgd_alloc": "__paravirt_pgd_alloc",
    "mmu.set_pgd": "native_set_pgd",
    "lock.queued_spin_unlock": "__raw_callee_save___native_queued_spin_unlock",
    "lock.vcpu_is_preempted": "__raw_callee_save___native_vcpu_is_preempted",
    // NULL: a call through it would be patched to paravirt_BUG.
    "cpu.set_ldt": "",
  };
  return special[path] ?? `native_${path.slice(path.indexOf(".") + 1)}`;
}

export const PV_MEMBERS: readonly PvMember[] = Object.entries(MEMBERS)
  .flatMap(([group, names]) => names.split(/\s+/).map((name) => `${group}.${name}`))
  .map((text, index) => {
    const path = text.replace("*", "");
    return { path, index, calleeSave: text.endsWith("*"), value: native(path) };
  });

/** A member by its path. */
export function pvMember(path: string): PvMember {
  const found = PV_MEMBERS.find((m) => m.path === path);
  if (!found) throw new Error(`no pv_ops member ${path}`);
  return found;
}

/** C declarations of the template and its parts. */
export function pvDeclarations(): string {
  const groups = Object.keys(MEMBERS).map((group) => {
    const inner = PV_MEMBERS.filter((m) => m.path.startsWith(`${group}.`)).map((m) => {
      const name = m.path.slice(group.length + 1);
      if (name.startsWith("lazy_mode.")) return name === "lazy_mode.enter" ? "struct pv_lazy_ops lazy_mode;" : "";
      return m.calleeSave ? `struct paravirt_callee_save ${name};` : `void (*${name})(void);`;
    });
    return `struct pv_${group}_ops { ${inner.join(" ")} };`;
  });
  return `
    struct paravirt_callee_save { void *func; };
    struct pv_lazy_ops { void (*enter)(void); void (*leave)(void); void (*flush)(void); };
    struct pv_info { unsigned short extra_user_64bit_cs; const char *name; };
    ${groups.join("\n")}
    struct paravirt_patch_template { struct pv_cpu_ops cpu; struct pv_irq_ops irq; struct pv_mmu_ops mmu;
      struct pv_lock_ops lock; };
    struct paravirt_patch_site { u8 *instr; u8 type; u8 len; };`;
}
