// The 3.0 specimen's data objects. Values are those of the image; the running kernel's are set in state.ts.
import { ByteWriter, hex, latin1 } from "../bytes.ts";
import type { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { elfNote } from "../writers/notes.ts";
import { PV_GROUPS, PV_MEMBERS } from "./paravirt.ts";
import { ATOMIC5, k8Nops } from "./sites.ts";
import type { Story } from "./story.ts";

const PAGE = 4096;
export const BUILD_ID = "6c70 2038 3338 3032 3600 7370 6563 696d 656e 2100".replaceAll(" ", "");
export const VERSION = "#14-Specimen SMP Tue Aug 16 2011";

export function banner(story: Story): string {
  return `Linux version ${story.release} (scribe@scriptorium) (specimen assembler) ${VERSION}\n`;
}

function readOnly(unit: Unit, story: Story): void {
  const text = (name: string, value: string) => unit.object(name, ".rodata", latin1(`${value}\0`), 1, false);
  unit.object("linux_banner", ".rodata", latin1(`${banner(story)}\0`), 32);
  text("bug_file_name", "specimen/kernel-30.c");
  text("xen_hvm_name", "Xen HVM");
  text("pv_bare_hardware", "bare hardware");
  text("core_kernel_name", "core kernel");
  // k8_nops[1] … [8] point into one run of bytes, [9] to the nop that can be replaced in one go.
  const runs = [1, 2, 3, 4, 5, 6, 7, 8].map(k8Nops);
  unit.object("k8nops", ".rodata", Uint8Array.from([...runs.flatMap((n) => [...n]), ...ATOMIC5]), 8, false);
  unit.words(
    "k8_nops",
    ".rodata",
    [0n, ...Array.from({ length: 9 }, (_, i) => `k8nops+${(i * (i + 1)) / 2}`)],
    32,
    false,
  );
  unit.words("ideal_nops", ".data..read_mostly", ["k8_nops"]);
  unit.words("__per_cpu_offset", ".data..read_mostly", Array<bigint>(64).fill(0n), 32);
  unit.section(".notes", { type: 7, align: 4 }).bytes.bytes(elfNote("GNU", 3, hex(BUILD_ID)));
}

function pageTables(unit: Unit): void {
  const section = ".data..page_aligned";
  unit.section(section, { flags: 3, align: PAGE });
  for (const name of ["init_level4_pgt", "level3_kernel_pgt", "level2_kernel_pgt"])
    unit.object(name, section, new Uint8Array(PAGE), PAGE);
}

function paravirt(unit: Unit, story: Story): void {
  for (const group of PV_GROUPS) {
    if (group === "pv_lock_ops" && !story.pvLocks) continue;
    const values = PV_MEMBERS.filter((m) => m.group === group).map((m) => (m.value === "" ? 0n : m.value));
    unit.words(group, ".data", values, 8);
  }
  unit.object("pv_info", ".data", new Uint8Array(24), 8);
  unit.words("smp_ops", ".data", [
    "ftrace_stub",
    "native_smp_prepare_cpus",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
    "ftrace_stub",
  ]);
  unit.words("x86_hyper_xen_hvm", ".rodata", ["xen_hvm_name", "xen_hvm_platform", 0n, "xen_hvm_guest_init"], 32);
  unit.words("hypervisors", ".rodata", ["x86_hyper_xen_hvm"], 8, false);
}

const LOG_PAGES = 4;

function writable(unit: Unit, types: CTypes): void {
  const object = (name: string, type: string, align = 32) =>
    unit.object(name, ".data", new Uint8Array(types.sizeOf(type)), align);
  object("init_task", "struct task_struct", 64);
  object("boot_cpu_data", "struct cpuinfo_x86", 64);
  object("init_uts_ns", "struct uts_namespace");
  object("ftrace_list_end", "struct ftrace_ops");
  for (const name of ["module_mutex", "text_mutex", "jump_label_mutex"]) object(name, "struct mutex");
  unit.words("modules", ".data", ["modules", "modules"]);
  unit.words("smp_alt_modules", ".data", ["smp_alt_modules", "smp_alt_modules"], 8, false);
  unit.words("perf_sched_events", ".data", [0n, 0n, 0n]);
  unit.words("phys_base", ".data", [0n]);
  unit.words("initial_code", ".data", ["start_kernel"]);
  unit.words("pm_idle", ".data", ["default_idle"]);
  unit.words("ftrace_ops_list", ".data", ["ftrace_list_end"]);
  unit.words("ftrace_trace_function", ".data", ["ftrace_stub"]);
  unit.words("next_thread", ".data", [0n], 8, false);
  const events = new ByteWriter();
  for (let irq = 0; irq < 64; irq++) events.u16(irq);
  unit.object("irq_to_evtchn", ".data", events.take(), 8, false);
  for (const name of ["setup_max_cpus", "nr_cpu_ids", "worker_lock", "runqueue_lock", "shared_lock", "pi_lock"])
    unit.object(name, ".data", new Uint8Array(4), 4);
  unit.object("smp_mode", ".data", new ByteWriter().u32(1).take(), 4, false);
  unit.words("log_buf", ".data", ["__log_buf"], 8, false);
  unit.object("log_buf_len", ".data", new ByteWriter().u32(LOG_PAGES * PAGE).take(), 4, false);
}

function zeroed(unit: Unit): void {
  const bss = (name: string, size: number, align = 8) => unit.object(name, ".bss", new Uint8Array(size), align);
  bss("idt_table", PAGE, PAGE);
  for (const name of [
    "x86_hyper",
    "saved_command_line",
    "ftrace_pages_start",
    "ftrace_pages",
    "HYPERVISOR_shared_info",
  ])
    bss(name, 8);
  for (const name of ["cpu_possible_bits", "cpu_present_bits", "cpu_online_bits"]) bss(name, 32);
  bss("kprobe_table", 64 * 8, 32);
  bss("__log_buf", LOG_PAGES * PAGE, 32);
  for (const name of ["log_end", "log_start", "logged_chars", "xen_domain_type", "system_state"]) bss(name, 4, 4);
  bss("xen_have_vector_callback", 1, 1);
}

function perCpu(unit: Unit, types: CTypes): void {
  const percpu = (name: string, size: number, align = 8) =>
    unit.object(name, ".data..percpu", new Uint8Array(size), align);
  unit.section(".data..percpu", { flags: 3, align: PAGE });
  percpu("irq_stack_union", 48, PAGE);
  percpu("cpu_info", types.sizeOf("struct cpuinfo_x86"), 64);
  for (const name of ["current_task", "kernel_stack", "this_cpu_off", "lock_spinners"]) percpu(name, 8);
  for (const name of ["cpu_number", "preempt_count_cpu"]) percpu(name, 4, 4);
  unit.object("lock_kicker_irq", ".data..percpu", hex("ffffffff"), 4);
  percpu("ipi_to_irq", 4 * 4, 4);
}

export function kernelData(unit: Unit, types: CTypes, story: Story): void {
  readOnly(unit, story);
  pageTables(unit);
  paravirt(unit, story);
  writable(unit, types);
  zeroed(unit);
  perCpu(unit, types);
}
