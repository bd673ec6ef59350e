// The specimen's data objects: names, places and build-time values as in a 6.1 kernel. What the running kernel
// stored into them is said in state.ts.

import { nops } from "../asm/patched.ts";
import { latin1 } from "../bytes.ts";
import type { Unit } from "../object/unit.ts";
import { writeBtf } from "../types/btf-writer.ts";
import type { CTypes } from "../types/c-types.ts";
import { elfNote } from "../writers/notes.ts";
import { defineStaticCall } from "./sites.ts";

export const RELEASE = "6.1.0-palimpsest";
export const VERSION = "#1 SMP PREEMPT_DYNAMIC Specimen 6.1.192-1 (2024-02-29)";
export const BANNER = `Linux version ${RELEASE} (scribe@scriptorium) (specimen assembler) ${VERSION}\n`;
export const BUILD_ID = "7061 6c69 6d70 7365 7374 2d73 7065 6369 6d65 6e2e".replaceAll(" ", "");

/** name: [value in the image, value in the running kernel] */
export const STATIC_KEYS: Readonly<Record<string, readonly [number, number]>> = {
  virt_spin_lock_key: [1, 0],
  trace_vfs_read_key: [0, 0],
  memcg_kmem_key: [0, 1],
  cpuset_key: [0, 0],
  audit_key: [0, 1],
};

/** name: [function in the image, function now]; null for none */
export const STATIC_CALLS: Readonly<Record<string, readonly [string | null, string | null]>> = {
  preempt_schedule: ["preempt_schedule", "preempt_schedule"],
  might_resched: ["preempt_schedule", "__static_call_return0"],
  cond_resched: ["__static_call_return0", "__static_call_return0"],
  pv_sched_clock: ["native_sched_clock", "native_sched_clock"],
  tp_func_vfs_read: [null, null],
  open_hook: [null, "vfs_read"],
  audit_hook: [null, null],
};

const PAGE = 4096;

function readOnly(unit: Unit, types: CTypes, buildId: Uint8Array): void {
  const text = (name: string, value: string) => unit.object(name, ".rodata", latin1(`${value}\0`), 1, false);
  unit.object("linux_banner", ".rodata", latin1(`${BANNER}\0`), 32);
  text("bug_file_name", "specimen/kernel.c");
  text("kprobe_page_name", "kprobe_insn_page");
  const all = Array.from({ length: 8 }, (_, i) => nops(i + 1));
  unit.object("x86nops", ".rodata", Uint8Array.from(all.flatMap((n) => [...n])), 8, false);
  unit.words("x86_nops", ".rodata", [0n, ...all.map((_, i) => `x86nops+${(i * (i + 1)) / 2}`)], 32);
  for (const name of ["page_offset_base", "vmalloc_base", "vmemmap_base"])
    unit.words(name, ".data..ro_after_init", [0n]);
  unit.words("x86_return_thunk", ".data..ro_after_init", ["__x86_return_thunk"]);
  unit.words("x86_idle", ".data..ro_after_init", ["default_idle"]);
  unit.object("xen_domain_type", ".data..ro_after_init", new Uint8Array(4), 4);
  unit.words("__per_cpu_offset", ".data..ro_after_init", [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n], 32);
  unit
    .section(".notes", { type: 7, align: 4 })
    .bytes.bytes(elfNote("GNU", 3, buildId))
    .bytes(elfNote("Linux", 257, new Uint8Array(4)));
  unit.section(".BTF").bytes.bytes(writeBtf(types));
}

function pageTables(unit: Unit): void {
  const data = unit.section(".data..page_aligned", { flags: 3, align: 2 * PAGE });
  data.bytes.align(2 * PAGE);
  for (const [name, pages] of [
    ["init_top_pgt", 2],
    ["level3_kernel_pgt", 1],
    ["level2_kernel_pgt", 1],
    ["level2_fixmap_pgt", 1],
  ] as const)
    unit.object(name, ".data..page_aligned", new Uint8Array(pages * PAGE), PAGE);
  unit.define("swapper_pg_dir", ".data..page_aligned", {
    offset: unit.symbols.get("init_top_pgt")!.offset,
    kind: "object",
  });
}

function writable(unit: Unit, types: CTypes): void {
  const object = (name: string, type: string, align = 32) =>
    unit.object(name, ".data", new Uint8Array(types.sizeOf(type)), align);
  object("init_task", "struct task_struct", 64);
  object("boot_cpu_data", "struct cpuinfo_x86");
  object("init_uts_ns", "struct uts_namespace");
  for (const [name, [built]] of Object.entries(STATIC_KEYS)) unit.words(name, ".data", [BigInt(built), BigInt(built)]);
  for (const [name, [built, now]] of Object.entries(STATIC_CALLS)) defineStaticCall(unit, name, built, now);
  unit.words("modules", ".data", ["modules", "modules"]);
  object("module_mutex", "struct mutex");
  object("text_mutex", "struct mutex");
  unit.words("phys_base", ".data", [0n]);
  unit.words("initial_code", ".data", ["start_kernel"]);
  unit.words("ftrace_ops_list", ".data", ["ftrace_list_end"]);
  unit.words("function_trace_op", ".data", ["ftrace_list_end"]);
  unit.words("ftrace_trace_function", ".data", ["ftrace_stub"]);
  object("ftrace_list_end", "struct ftrace_ops");
  object("function_tracer_ops", "struct ftrace_ops");
  object("probe_tracer_ops", "struct ftrace_ops");
  object("kprobe_insn_slots", "struct kprobe_insn_cache");
  object("kprobe_optinsn_slots", "struct kprobe_insn_cache");
  unit.words("prb", ".data", ["printk_rb_static"], 8, false);
  object("printk_rb_static", "struct printk_ringbuffer");
  unit.words("trace_hits", ".data", [0n], 8, false);
  for (const name of ["__cpu_possible_mask", "__cpu_present_mask", "__cpu_online_mask"]) object(name, "struct cpumask");
  for (const name of ["nr_cpu_ids", "system_state", "static_key_initialized"])
    unit.object(name, ".data", new Uint8Array(4), 4);
}

function zeroed(unit: Unit): void {
  const bss = (name: string, size: number, align = 8) => unit.object(name, ".bss", new Uint8Array(size), align);
  bss("idt_table", PAGE, PAGE);
  bss("tp_vec", PAGE, 32);
  for (const name of ["saved_command_line", "ftrace_pages_start", "ftrace_pages", "static_call_initialized"])
    bss(name, 8);
  bss("vmcoreinfo_data", 8);
  bss("vmcoreinfo_size", 8);
  bss("kprobe_table", 64 * 8, 32);
  bss("bp_desc", 16);
  bss("tp_vec_nr", 4, 4);
  bss("x86_hyper_type", 4, 4);
  bss("uniproc_patched", 1, 1);
}

function perCpu(unit: Unit, types: CTypes): void {
  const percpu = (name: string, size: number, align = 8) =>
    unit.object(name, ".data..percpu", new Uint8Array(size), align);
  unit.section(".data..percpu", { flags: 3, align: PAGE });
  percpu("fixed_percpu_data", 48, PAGE);
  percpu("cpu_info", types.sizeOf("struct cpuinfo_x86"), 64);
  percpu("cpu_number", 4, 4);
  percpu("__preempt_count", 4, 4);
  percpu("this_cpu_off", 8);
  percpu("current_task", 8);
  percpu("qnodes", types.sizeOf("struct qnode") * 4, 64);
}

/** Emits all data. @param buildId 20 bytes of the GNU build-id note */
export function kernelData(unit: Unit, types: CTypes, buildId: Uint8Array): void {
  readOnly(unit, types, buildId);
  pageTables(unit);
  writable(unit, types);
  zeroed(unit);
  perCpu(unit, types);
}
