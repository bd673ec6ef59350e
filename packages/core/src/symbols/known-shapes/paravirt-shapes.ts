// The pv_*_ops structures before 4.20, when each group was a variable of its own (arch/x86/include/asm/
// paravirt_types.h). Their order never changed, members came and went: the slots of a dump are laid along the list of
// all members there ever were, and the functions in them say which are there.
import { type Discovered, isKernelAddress, Peek, type ShapeContext, symbolAddress } from "./peek.ts";
import type { ShapeMember, StructShape } from "./shape-types.ts";

/** Members in order; "?" marks those that not all releases from 2.6.30 to 4.19 have, on x86-64, "??" the rarer. */
const GROUPS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  pv_init_ops: [["patch"]],
  pv_time_ops: [["sched_clock", "steal_clock?", "get_tsc_khz?"]],
  pv_cpu_ops: [
    [
      ...["get_debugreg", "set_debugreg", "clts?", "read_cr0", "write_cr0", "read_cr4_safe?", "read_cr4?", "write_cr4"],
      ...["read_cr8", "write_cr8", "load_tr_desc", "load_gdt", "load_idt", "store_gdt?", "store_idt?", "set_ldt"],
      ...["store_tr", "load_tls", "load_gs_index", "write_ldt_entry", "write_gdt_entry", "write_idt_entry"],
      ...["alloc_ldt", "free_ldt", "load_sp0", "set_iopl_mask", "wbinvd", "io_delay", "cpuid", "read_msr"],
      ...["rdmsr_regs?", "write_msr", "wrmsr_regs?", "read_msr_safe?", "write_msr_safe?", "read_tsc?", "read_pmc"],
      ...["read_tscp?", "irq_enable_sysexit?", "usergs_sysret64", "usergs_sysret32?", "iret", "swapgs"],
      ...["start_context_switch", "end_context_switch"],
    ],
  ],
  pv_irq_ops: [["save_fl", "restore_fl", "irq_disable", "irq_enable", "safe_halt", "halt", "adjust_exception_frame?"]],
  pv_apic_ops: [["startup_ipi_hook"]],
  pv_mmu_ops: [
    [
      ...["read_cr2", "write_cr2", "read_cr3", "write_cr3", "activate_mm", "dup_mmap", "exit_mmap", "flush_tlb_user"],
      ...["flush_tlb_kernel", "flush_tlb_single", "flush_tlb_others", "tlb_remove_table??", "pgd_alloc", "pgd_free"],
      ...["alloc_pte", "alloc_pmd", "alloc_pud", "alloc_p4d?", "release_pte", "release_pmd", "release_pud"],
      ...["release_p4d?", "set_pte", "set_pte_at", "set_pmd", "set_pmd_at?", "set_pud_at??", "pte_update?"],
      ...["pte_update_defer?", "pmd_update?", "pmd_update_defer?", "ptep_modify_prot_start", "ptep_modify_prot_commit"],
      ...["pte_val", "make_pte", "pgd_val", "make_pgd", "set_pud", "pmd_val", "make_pmd", "pud_val", "make_pud"],
      ...["set_p4d?", "p4d_val?", "make_p4d?", "set_pgd?", "lazy_mode.enter", "lazy_mode.leave", "lazy_mode.flush?"],
      "set_fixmap",
    ],
  ],
  pv_lock_ops: [
    ["spin_is_locked", "spin_is_contended", "spin_lock", "spin_lock_flags", "spin_trylock", "spin_unlock"], // to 3.11
    ["lock_spinning", "unlock_kick"], // 3.12, until 4.1 and without CONFIG_QUEUED_SPINLOCKS
    ["queued_spin_lock_slowpath", "queued_spin_unlock", "wait", "kick", "vcpu_is_preempted?"], // 4.2
  ],
};

/** Slots that hold NULL on x86-64, where there is nothing to do. */
const NULLABLE = new Set(["get_tsc_khz", "irq_enable_sysexit", "usergs_sysret32", "wait", "kick"]);
/** Functions whose names are not their member's behind a prefix. */
const ALIASES: Readonly<Record<string, string>> = {
  rdmsr_safe_regs: "rdmsr_regs",
  wrmsr_safe_regs: "wrmsr_regs",
  flush_tlb: "flush_tlb_user",
  flush_tlb_local: "flush_tlb_user",
  flush_tlb_global: "flush_tlb_kernel",
  flush_tlb_one_user: "flush_tlb_single",
  default_spin_lock_flags: "spin_lock_flags",
};
/** Functions for which several members may stand. */
const EITHER: Readonly<Record<string, string>> = { read_msr_safe: "read_msr", write_msr_safe: "write_msr" };
/** Functions that many slots share: they tell nothing. */
const SHARED = /^_*paravirt_(nop|ident_32|ident_64)$|^__raw_callee_save.*paravirt_nop$/;
const PREFIX = /^(__raw_callee_save_+)?_*(native|xen|kvm|hyperv|hv|vmi|paravirt|ticket|pv|tboot)_/;
const MAX_SLOTS = 64;
/** MODULES_VADDR before KASLR: only a module's function may lie there. */
const MODULES_START = 0xffffffffa0000000n;
/** What a rare member must be better by. */
const RARE = 0.05;

/** Layouts of the pv_*_ops that the kernel has; undefined when it has none (4.20 on, or without CONFIG_PARAVIRT). */
export function discoverParavirt({ reader, symbols }: ShapeContext): Discovered | undefined {
  const peek = new Peek(reader);
  const shapes: StructShape[] = [];
  const evidence: string[] = [];
  for (const [variable, lists] of Object.entries(GROUPS)) {
    const address = symbolAddress(symbols, variable);
    if (address === undefined) continue;
    const distance = symbols.nearest(address)?.size ?? 0;
    const view = peek.view(address, Math.min(distance, MAX_SLOTS * 8) & ~7);
    if (view === undefined || view.byteLength === 0) continue;
    const slots: (string | undefined)[] = [];
    for (let at = 0; at < view.byteLength; at += 8) {
      const value = view.getBigUint64(at, true);
      const name = value === 0n ? "" : functionAt(symbols, value);
      // What lies behind the structure has no symbol of its own where kallsyms has functions only.
      if (name === undefined && !mayBeFunction(symbols, value)) break;
      slots.push(name);
    }
    const best = lists
      .map((list) => align(slots, list))
      .filter((each) => each !== undefined)
      .sort((a, b) => b.score - a.score)[0];
    if (best === undefined) continue;
    const members = best.names.map((name, i): ShapeMember => [name, i * 8, "void *"]);
    shapes.push({ name: `struct ${variable}`, size: members.length * 8, members });
    evidence.push(`${variable}: ${members.length} slots, of which ${best.proved} hold a function of their own name`);
  }
  const template = templateOf(shapes);
  if (template !== undefined) shapes.push(template);
  return shapes.length === 0 ? undefined : { shapes, evidence };
}

/** Name of the function that starts at the address, a `native_` one if there are several; undefined for none. */
function functionAt(symbols: ShapeContext["symbols"], address: bigint): string | undefined {
  const names = symbols.at(address as Parameters<typeof symbols.at>[0]).map((symbol) => symbol.name);
  return names.find((name) => PREFIX.test(name)) ?? names[0];
}

function mayBeFunction(symbols: ShapeContext["symbols"], address: bigint): boolean {
  const start = symbolAddress(symbols, "_stext");
  const end = symbolAddress(symbols, "_etext");
  return start === undefined || end === undefined
    ? isKernelAddress(address)
    : (address >= start && address < end) || (address >= MODULES_START && isKernelAddress(address));
}

interface Alignment {
  readonly names: readonly string[];
  readonly score: number;
  readonly proved: number;
}

/**
 * The members that best explain the slots, in order, all obligatory ones among them; the slot behind the last member must
 * be NULL (padding), what follows may belong to another variable.
 * @param slots names of the functions in them; "" for NULL, undefined for a function without a name
 */
export function align(slots: readonly (string | undefined)[], list: readonly string[]): Alignment | undefined {
  const members = list.map((name) => ({
    name: name.replace(/\?+$/, ""),
    optional: name.endsWith("?"),
    rare: name.endsWith("??") ? RARE : 0,
  }));
  const known = new Set(members.map((member) => member.name));
  // best[i][j]: score of laying the first j members along the first i slots
  const width = members.length + 1;
  const best = new Float64Array((slots.length + 1) * width).fill(Number.NEGATIVE_INFINITY);
  const taken = new Uint8Array(best.length);
  best[0] = 0;
  for (let i = 0; i <= slots.length; i++) {
    for (let j = 1; j <= members.length; j++) {
      const at = i * width + j;
      const { name, optional, rare } = members[j - 1];
      if (optional) best[at] = best[at - 1];
      if (i === 0) continue;
      const with_ = best[at - width - 1] + worth(slots[i - 1], name, known) - rare;
      if (with_ > best[at]) {
        best[at] = with_;
        taken[at] = 1;
      }
    }
  }
  let length = -1;
  for (let i = slots.length; i > 0; i--) {
    const score = best[i * width + members.length];
    if (i < slots.length && slots[i] !== "") continue;
    if (score > Number.NEGATIVE_INFINITY && (length < 0 || score > best[length * width + members.length])) length = i;
  }
  if (length < 0) return undefined;
  const score = best[length * width + members.length];
  const names: string[] = [];
  for (let i = length, j = members.length; j > 0; j--) {
    if (taken[i * width + j] === 0) continue;
    names.unshift(members[j - 1].name);
    i--;
  }
  return { names, score, proved: names.filter((name, i) => memberOf(slots[i]) === name).length };
}

function worth(slot: string | undefined, member: string, known: ReadonlySet<string>): number {
  if (slot === "") return NULLABLE.has(member) ? 0.25 : -1;
  if (slot === undefined || SHARED.test(slot)) return 0.1;
  const own = memberOf(slot);
  if (own === member) return 3;
  if (own !== undefined && EITHER[own] === member) return 2;
  return own !== undefined && known.has(own) ? -3 : 0.1;
}

/** "native_read_cr2" → "read_cr2". */
function memberOf(slot: string | undefined): string | undefined {
  if (slot === undefined || slot === "") return undefined;
  const bare = slot.replace(PREFIX, "").replace(PREFIX, "").replace(/^_+/, "");
  return ALIASES[bare] ?? bare;
}

const ORDER = ["init", "time", "cpu", "irq", "apic", "mmu", "lock"];

/** struct paravirt_patch_template: the groups one behind the other; paravirt_patch_site.type counts its slots. */
function templateOf(shapes: readonly StructShape[]): StructShape | undefined {
  const members: ShapeMember[] = [];
  let at = 0;
  for (const group of ORDER) {
    const shape = shapes.find((each) => each.name === `struct pv_${group}_ops`);
    if (shape?.size === undefined) {
      if (group === "apic" || group === "lock") continue; // none since 4.7; only with CONFIG_PARAVIRT_SPINLOCKS
      return undefined;
    }
    members.push([`pv_${group}_ops`, at, shape.name]);
    at += shape.size;
  }
  return { name: "struct paravirt_patch_template", size: at, members };
}
