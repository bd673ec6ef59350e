// The linker script: which input sections make up which output section, in which order, and the boundary symbols,
// as arch/x86/kernel/vmlinux.lds.S (6.1) has them. Several tables have no section of their own and are found by
// their boundary symbols only.
import type { ScriptPart, ScriptSection } from "../object/link-core.ts";

const HUGE = 2 << 20;
const A = 2;
const WA = 3;
const AX = 6;

const at = (symbol: string): ScriptPart => ({ symbol });

/** A table with __start_NAME and __stop_NAME around it. */
function table(name: string): ScriptPart[] {
  return [{ align: 8 }, at(`__start_${name}`), name, at(`__stop_${name}`)];
}

export const KALLSYMS = ".rodata.kallsyms";

export const SCRIPT: readonly ScriptSection[] = [
  {
    name: ".text",
    flags: AX,
    align: HUGE,
    fill: 0xcc,
    parts: [
      ...["_text", "_stext"].map(at),
      ".head.text",
      ".text",
      ...[at("__noinstr_text_start"), ".noinstr.text", at("__noinstr_text_end")],
      ...[at("__sched_text_start"), ".sched.text", at("__sched_text_end")],
      ...[at("__cpuidle_text_start"), ".cpuidle.text", at("__cpuidle_text_end")],
      ...[at("__lock_text_start"), ".spinlock.text", at("__lock_text_end")],
      ...[at("__entry_text_start"), ".entry.text", at("__entry_text_end")],
      ...[{ align: 8 }, at("__static_call_text_start"), ".static_call.text", at("__static_call_text_end")],
      ...[{ align: 32 }, at("__indirect_thunk_start"), ".text..__x86.indirect_thunk", at("__indirect_thunk_end")],
      at("_etext"),
    ],
  },
  {
    name: ".rodata",
    flags: WA,
    align: HUGE,
    before: ["__start_rodata"],
    parts: [
      ".rodata",
      ...[{ align: 8 }, KALLSYMS],
      ...[{ align: 8 }, at("__start_ro_after_init"), ".data..ro_after_init"],
      ...table("__jump_table"),
      ...[{ align: 8 }, at("__start_static_call_sites"), ".static_call_sites", at("__stop_static_call_sites")],
      ...[at("__start_static_call_tramp_key"), ".static_call_tramp_key", at("__stop_static_call_tramp_key")],
      at("__end_ro_after_init"),
    ],
  },
  {
    name: ".notes",
    flags: A,
    type: 7,
    align: 4,
    before: ["__start_notes"],
    after: ["__stop_notes"],
    parts: [".notes"],
  },
  { name: ".BTF", flags: A, align: 1, before: ["__start_BTF"], after: ["__stop_BTF", "__end_rodata"], parts: [".BTF"] },
  {
    name: ".data",
    flags: WA,
    align: HUGE,
    before: ["_sdata"],
    after: ["_edata"],
    parts: [".data..page_aligned", { align: 64 }, ".data"],
  },
  {
    name: "__bug_table",
    flags: WA,
    align: 1,
    before: ["__start___bug_table"],
    after: ["__stop___bug_table"],
    parts: ["__bug_table"],
  },
  {
    name: ".orc_unwind_ip",
    flags: A,
    align: 4,
    before: ["__start_orc_unwind_ip"],
    after: ["__stop_orc_unwind_ip"],
    parts: [".orc_unwind_ip"],
  },
  {
    name: ".orc_unwind",
    flags: A,
    align: 1,
    before: ["__start_orc_unwind"],
    after: ["__stop_orc_unwind"],
    parts: [".orc_unwind"],
  },
  {
    name: ".orc_lookup",
    flags: WA,
    type: 8,
    align: 32,
    before: ["orc_lookup"],
    after: ["orc_lookup_end"],
    parts: [".orc_lookup"],
  },
  {
    name: ".data..percpu",
    flags: WA,
    align: 4096,
    percpu: true,
    before: ["__init_begin", "__per_cpu_load"],
    parts: [at("__per_cpu_start"), ".data..percpu", at("__per_cpu_end")],
  },
  {
    name: ".init.text",
    flags: AX,
    align: 4096,
    fill: 0xcc,
    before: ["_sinittext"],
    parts: [".init.text", at("_einittext")],
  },
  { name: ".altinstr_aux", flags: AX, align: 1, parts: [".altinstr_aux"] },
  {
    name: ".init.data",
    flags: WA,
    align: 8192,
    parts: [".init.data", { align: 8 }, at("__start_mcount_loc"), "__mcount_loc", at("__stop_mcount_loc")],
  },
  bounded(".parainstructions", "__parainstructions", 8),
  bounded(".retpoline_sites", "__retpoline_sites", 4),
  bounded(".return_sites", "__return_sites", 4),
  bounded(".altinstructions", "__alt_instructions", 4),
  { name: ".altinstr_replacement", flags: AX, align: 1, parts: [".altinstr_replacement"] },
  { name: ".exit.text", flags: AX, align: 1, parts: [".exit.text"] },
  {
    name: ".smp_locks",
    flags: A,
    align: 4096,
    before: ["__init_end", "__smp_locks"],
    after: ["__smp_locks_end"],
    parts: [".smp_locks", { align: 4096 }],
  },
  {
    name: ".bss",
    flags: WA,
    type: 8,
    align: 4096,
    before: ["__bss_start"],
    after: ["__bss_stop"],
    parts: [".bss", { align: 4096 }],
  },
  {
    name: ".brk",
    flags: WA,
    type: 8,
    align: 4096,
    before: ["__brk_base"],
    after: ["__brk_limit", "_end"],
    parts: [".brk"],
  },
];

/** A section of its own whose boundary symbols are NAME and NAME_end. */
function bounded(name: string, symbol: string, align: number): ScriptSection {
  return { name, flags: A, align, before: [symbol], after: [`${symbol}_end`], parts: [name] };
}
