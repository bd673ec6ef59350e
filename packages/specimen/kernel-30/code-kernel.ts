// The 3.0 specimen's ordinary text: startup, idle, workqueues, softirqs, the functions behind pv_*_ops, and a few users
// of locks whose unlocks the compiler inlined.
import { fn, mark, type Part } from "../asm/function.ts";
import { callTo, concat } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import type { Unit } from "../object/unit.ts";
import { framed, LEAVE, lockOperation } from "./code-locks.ts";
import { LOCK_FUNCTIONS, PV_MEMBERS } from "./paravirt.ts";
import { alternative, bug, jumpLabel, k8Nops, mcount, paravirtCall } from "./sites.ts";
import type { Story } from "./story.ts";

export const FEATURE = {
  UP: 3 * 32 + 9,
  REP_GOOD: 3 * 32 + 16,
  MFENCE_RDTSC: 3 * 32 + 17,
  LFENCE_RDTSC: 3 * 32 + 18,
} as const;

/** An assembly stub: no frame, no mcount. */
function stub(unit: Unit, name: string, body: readonly Part[]): void {
  fn(unit, name, body, { orc: false });
}

function startup(unit: Unit): void {
  fn(unit, "startup_64", ["mov rax, $secondary_startup_64", "jmp rax"], { orc: false, align: 4096 });
  stub(unit, "secondary_startup_64", ["mov rax, [rip+initial_code]", "jmp rax"]);
  stub(unit, "mcount", ["ret"]);
  stub(unit, "ftrace_stub", ["ret"]);
  stub(unit, "ftrace_caller", [
    "sub rsp, 0x38",
    "mov rdi, [rsp+0x38]",
    "ftrace_call:",
    "call ftrace_stub",
    "add rsp, 0x38",
    "ret",
  ]);
  // The hypervisor's own stubs go here, 32 bytes each.
  unit.section(".text").bytes.align(4096, 0xcc);
  unit.object("hypercall_page", ".text", new Uint8Array(4096), 4096);
}

const BODIES: Readonly<Record<string, readonly Part[]>> = {
  native_safe_halt: ["push rbp", "mov rbp, rsp", mcount(), "sti", "hlt", mark("halted"), ...LEAVE],
  native_halt: ["hlt", "ret"],
  native_irq_disable: ["cli", "ret"],
  native_irq_enable: ["sti", "ret"],
  native_save_fl: ["pushfq", "pop rax", "ret"],
  native_restore_fl: ["push rdi", "popfq", "ret"],
  native_read_cr2: ["mov rax, cr2", "ret"],
  native_write_cr2: ["mov cr2, rdi", "ret"],
  native_read_cr3: ["mov rax, cr3", "ret"],
  native_write_cr3: ["mov cr3, rdi", "ret"],
  native_wbinvd: ["wbinvd", "ret"],
  _paravirt_nop: ["ret"],
  _paravirt_ident_64: ["mov rax, rdi", "ret"],
};

/** Every function that the pv_*_ops name, except the lock functions. */
function natives(unit: Unit): void {
  const locks = new Set(Object.values(LOCK_FUNCTIONS).flat());
  for (const name of new Set(PV_MEMBERS.map((m) => m.value))) {
    if (name === "" || locks.has(name) || unit.symbols.has(name)) continue;
    if (BODIES[name]) stub(unit, name, BODIES[name]);
    else framed(unit, name, ["xor eax, eax", ...LEAVE]);
  }
  stub(unit, "_paravirt_ident_32", ["mov eax, edi", "ret"]);
}

function idle(unit: Unit): void {
  framed(unit, "default_idle", [paravirtCall("pv_irq_ops.safe_halt"), mark("default_idle", 2), ...LEAVE]);
  framed(unit, "cpu_idle", [
    "push rbx",
    "sub rsp, 8",
    ".again:",
    paravirtCall("pv_irq_ops.irq_disable"),
    "mov rax, [rip+pm_idle]",
    "call rax",
    mark("cpu_idle"),
    jumpLabel("perf_sched_events", ".switch", "nop"),
    "jmp .again",
    ".switch:",
    "call schedule",
    "jmp .again",
  ]);
  framed(unit, "schedule", ["call finish_task_switch", ...LEAVE]);
  framed(unit, "start_secondary", ["call cpu_idle", mark("start_secondary"), bug(212)]);
  // The thread that calls smp_prepare_cpus() is started here, after everything was patched.
  framed(unit, "rest_init", [
    "xor esi, esi",
    "mov edx, 0xa00",
    "mov rdi, $kernel_init",
    "call kernel_thread",
    "call schedule",
    "call cpu_idle",
    mark("rest_init"),
    bug(356),
  ]);
}

function threads(unit: Unit): void {
  framed(unit, "kernel_thread", [
    "mov rax, $kernel_thread_helper",
    "mov [rip+next_thread], rdi",
    "call do_fork",
    ...LEAVE,
  ]);
  framed(unit, "do_fork", ["call wake_up_new_task", ...LEAVE]);
  stub(unit, "kernel_thread_helper", [
    "mov rdi, rsi",
    "call rax",
    mark("kernel_thread_helper"),
    "mov edi, eax",
    "call do_exit",
  ]);
  framed(unit, "kthread", ["push rbx", "mov rax, [rdi]", "call rax", mark("kthread"), "pop rbx", ...LEAVE]);
  framed(unit, "worker_thread", [
    "push rbx",
    "mov rbx, rdi",
    "call process_one_work",
    mark("worker_thread"),
    "pop rbx",
    ...LEAVE,
  ]);
  framed(unit, "process_one_work", [
    "push r12",
    "push rbx",
    "mov rbx, rdi",
    "mov rdi, $worker_lock",
    "call _raw_spin_lock_irq",
    "mov rax, [rbx+24]",
    "call rax",
    mark("process_one_work"),
    "pop rbx",
    "pop r12",
    ...LEAVE,
  ]);
  framed(unit, "call_timer_fn", ["mov rax, rsi", "mov rdi, rdx", "call rax", mark("call_timer_fn"), ...LEAVE]);
  framed(unit, "run_timer_softirq", ["push rbx", "call call_timer_fn", mark("run_timer_softirq"), "pop rbx", ...LEAVE]);
  framed(unit, "__do_softirq", ["push rbx", "call run_timer_softirq", mark("__do_softirq"), "pop rbx", ...LEAVE]);
  framed(unit, "run_ksoftirqd", ["push rbx", "call __do_softirq", mark("run_ksoftirqd"), "pop rbx", ...LEAVE]);
  framed(unit, "local_bh_enable", ["call __do_softirq", mark("local_bh_enable"), ...LEAVE]);
  framed(unit, "local_bh_disable", ["inc dword gs:[rip+preempt_count_cpu]", ...LEAVE]);
}

const THINGS =
  "inode dentry file mount super pipe task signal timer page slab vma socket route packet device driver bus";
const DEEDS = "get put insert remove lookup update release notify";
const NAMES = THINGS.split(" ").flatMap((thing) => DEEDS.split(" ").map((deed) => `${thing}_${deed}`));

/** Functions with inlined lock operations; a real kernel has 1,400 such unlocks. */
function lockUsers(unit: Unit, story: Story): void {
  const op = (operation: Parameters<typeof lockOperation>[1]) => lockOperation(story, operation, story.core);
  const irqEnable = paravirtCall("pv_irq_ops.irq_enable");
  framed(unit, "finish_task_switch", ["mov rdi, $runqueue_lock", ...op("spin_unlock"), irqEnable, ...LEAVE]);
  framed(unit, "do_exit", [
    "mov rdi, $pi_lock",
    ".held:",
    ...op("spin_is_locked"),
    "test eax, eax",
    "je .free",
    "pause",
    "jmp .held",
    ".free:",
    "call schedule",
    bug(1012),
  ]);
  for (const name of NAMES) {
    framed(unit, name, [
      "push rbx",
      "mov rbx, rdi",
      "mov rdi, $shared_lock",
      "call _raw_spin_lock",
      "inc qword [rbx]",
      "mov rdi, $shared_lock",
      ...op("spin_unlock"),
      "pop rbx",
      ...LEAVE,
    ]);
  }
  framed(unit, "wake_up_new_task", ["call inode_get", ...LEAVE]);
}

function services(unit: Unit): void {
  framed(unit, "printk", ["xor eax, eax", ...LEAVE]);
  framed(unit, "schedule_work", ["mov eax, 1", ...LEAVE]);
  framed(unit, "register_blkdev", ["xor eax, eax", ...LEAVE]);
  framed(unit, "unregister_blkdev", LEAVE);
  framed(unit, "msleep", ["call schedule", ...LEAVE]);
  // A call in the replacement is adjusted to the place that it is copied to.
  stub(unit, "clear_page_c", ["mov ecx, 512", "xor eax, eax", "rep stosq", "ret"]);
  stub(unit, "clear_page_orig", ["xor eax, eax", "ret"]);
  framed(unit, "clear_huge_page", [
    alternative(["call clear_page_orig"], FEATURE.REP_GOOD, ["call clear_page_c"], (m, at) =>
      m.has(FEATURE.REP_GOOD) ? callTo(m, at, "clear_page_c") : undefined,
    ),
    ...LEAVE,
  ]);
  // A shorter replacement is padded; a feature that is absent leaves everything as built.
  stub(unit, "native_rdtsc_ordered", [
    alternative(Array(5).fill("nop"), FEATURE.LFENCE_RDTSC, ["lfence"], (m) =>
      m.has(FEATURE.LFENCE_RDTSC) ? concat(hex("0faee8"), k8Nops(2)) : undefined,
    ),
    alternative(["nop", "nop", "nop"], FEATURE.MFENCE_RDTSC, ["mfence"], (m) =>
      m.has(FEATURE.MFENCE_RDTSC) ? hex("0faef0") : undefined,
    ),
    "rdtsc",
    "ret",
  ]);
}

export function kernelText(unit: Unit, story: Story): void {
  startup(unit);
  idle(unit);
  threads(unit);
  lockUsers(unit, story);
  services(unit);
  natives(unit);
}
