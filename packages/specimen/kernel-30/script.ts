// The 3.0 kernel's linker script, as far as the specimen has sections (arch/x86/kernel/vmlinux.lds.S).
import type { ScriptPart, ScriptSection } from "../object/link-core.ts";

const HUGE = 2 << 20;
const A = 2;
const WA = 3;
const AX = 6;
const at = (symbol: string): ScriptPart => ({ symbol });

export const KALLSYMS = ".rodata.kallsyms";

export const SCRIPT: readonly ScriptSection[] = [
  {
    name: ".text",
    flags: AX,
    align: HUGE,
    fill: 0xcc,
    parts: [at("_text"), at("_stext"), ".text", at("_etext")],
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
  {
    name: ".rodata",
    flags: A,
    align: HUGE,
    before: ["__start_rodata"],
    after: ["__end_rodata"],
    parts: [".rodata", { align: 8 }, KALLSYMS],
  },
  {
    name: "__bug_table",
    flags: A,
    align: 8,
    before: ["__start___bug_table"],
    after: ["__stop___bug_table"],
    parts: ["__bug_table"],
  },
  {
    name: ".data",
    flags: WA,
    align: HUGE,
    before: ["_sdata"],
    after: ["_edata"],
    parts: [
      ".data..page_aligned",
      ...[{ align: 64 }, ".data"],
      ...[{ align: 8 }, at("__start___jump_table"), "__jump_table", at("__stop___jump_table")],
      ...[{ align: 64 }, ".data..read_mostly"],
    ],
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
  {
    name: ".init.data",
    flags: WA,
    align: 16,
    parts: [".init.data", { align: 8 }, at("__start_mcount_loc"), "__mcount_loc", at("__stop_mcount_loc")],
  },
  {
    name: ".parainstructions",
    flags: A,
    align: 8,
    before: ["__parainstructions"],
    after: ["__parainstructions_end"],
    parts: [".parainstructions"],
  },
  {
    name: ".altinstructions",
    flags: A,
    align: 8,
    before: ["__alt_instructions"],
    after: ["__alt_instructions_end"],
    parts: [".altinstructions"],
  },
  { name: ".altinstr_replacement", flags: AX, align: 1, parts: [".altinstr_replacement"] },
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
