// The specimen's ordinary functions: idle loop, a little VFS, memory helpers, exported services for modules. Each
// exists for the patch sites in it; together they have every form that a 6.1 kernel's mechanisms know.
import { fn, mark } from "../asm/function.ts";
import { callTo, concat, jumpTo, nops } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import type { Unit } from "../object/unit.ts";
import { irqDisable, irqEnable } from "./code-locks.ts";
import { FEATURE } from "./features.ts";
import { pvMember } from "./paravirt.ts";
import {
  alternative,
  bug,
  FTRACE,
  jumpLabel,
  kprobe,
  mcount,
  paravirtCall,
  ret,
  retpoline,
  smpLock,
  staticCall,
} from "./sites.ts";

const direct = (path: string) => {
  const m = pvMember(path);
  return paravirtCall({
    slot: `pv_ops.${path}`,
    index: m.index,
    to: m.value === "_paravirt_nop" ? "nop" : m.value === "" ? null : m.value,
  });
};
const stac = alternative(["nop", "nop", "nop"], [{ feature: FEATURE.SMAP, code: ["stac"] }], () => hex("0f01cb"));
const clac = alternative(["nop", "nop", "nop"], [{ feature: FEATURE.SMAP, code: ["clac"] }], () => hex("0f01ca"));

function idle(unit: Unit): void {
  fn(unit, "default_idle", [direct("irq.safe_halt"), mark("default_idle", 1), irqDisable(), ret()], {
    section: ".cpuidle.text",
  });
  fn(unit, "do_idle", [
    mcount(),
    "push rbx",
    irqDisable(),
    "mov rax, [rip+x86_idle]",
    retpoline("call", "rax"),
    mark("do_idle"),
    mark("do_idle without retpolines", 3),
    irqEnable(),
    staticCall({ name: "might_resched", kind: "call", now: "__static_call_return0" }),
    "pop rbx",
    ret(),
  ]);
  fn(unit, "cpu_startup_entry", [
    mcount(),
    "push rbx",
    ".again:",
    "call do_idle",
    mark("cpu_startup_entry"),
    "jmp .again",
    bug(401),
  ]);
  fn(
    unit,
    "start_secondary",
    [mcount(), "push rbx", "mov edi, 0xa9", "call cpu_startup_entry", mark("start_secondary"), bug(267)],
    { global: false },
  );
  fn(unit, "rest_init", [
    mcount(),
    "sub rsp, 8",
    "mov edi, 0xbc",
    "call cpu_startup_entry",
    mark("rest_init"),
    bug(726),
  ]);
  fn(unit, "preempt_schedule", [mcount(), ret()], { section: ".sched.text" });
  fn(unit, "native_sched_clock", [
    mcount(),
    alternative(["rdtsc"], [{ feature: FEATURE.FSRM, code: ["lfence", "rdtsc"] }], () => concat(hex("0f31"), nops(3))),
    "shl rdx, 32",
    "or rax, rdx",
    ret(),
  ]);
  fn(unit, "sched_clock", [mcount(), staticCall({ name: "pv_sched_clock", kind: "jmp", now: "native_sched_clock" })]);
}

function files(unit: Unit, probed: boolean): void {
  fn(unit, "vfs_read", [
    mcount({ to: "ftrace_caller", flags: FTRACE.ENABLED | 2n }),
    "push rbx",
    "mov rbx, rdi",
    jumpLabel({ key: "trace_vfs_read_key", likely: false, target: ".trace", size: 5, built: "nop", now: "nop" }),
    ".back:",
    smpLock("inc dword [rbx]"),
    "mov rax, [rbx+8]",
    retpoline("call", "rax"),
    staticCall({ name: "cond_resched", kind: "call", now: "__static_call_return0" }),
    smpLock("dec dword [rbx]"),
    "pop rbx",
    ret(),
    // Far enough away that the compiler had to give the branch five bytes.
    (w) => w.bytes(new Uint8Array(136).fill(0xcc)),
    ".trace:",
    staticCall({ name: "tp_func_vfs_read", kind: "call", now: null }),
    "jmp near .back",
  ]);
  fn(unit, "vfs_write", [
    mcount({ to: "ftrace_ops_trampoline", flags: FTRACE.ENABLED | FTRACE.TRAMP | FTRACE.TRAMP_EN | 1n }),
    jumpLabel({ key: "memcg_kmem_key", likely: false, target: ".charge", size: 2, built: "nop", now: "jmp" }),
    "xor eax, eax",
    ret(),
    ".charge:",
    "mov r11, [rdi+16]",
    retpoline("jmp", "r11"),
  ]);
  fn(unit, "do_sys_openat2", [
    mcount(),
    ...(probed ? [kprobe("53")] : []),
    "push rbx",
    "mov rbx, rsi",
    stac,
    "mov rax, [rbx]",
    clac,
    jumpLabel({ key: "cpuset_key", likely: true, target: ".plain", size: 5, built: "jmp", now: "jmp" }),
    "inc rax",
    ".plain:",
    "test rax, rax",
    "pop rbx",
    staticCall({ name: "open_hook", kind: "jne", now: "vfs_read" }),
    ret(),
  ]);
  fn(unit, "notify_change", [
    mcount(),
    jumpLabel({ key: "audit_key", likely: true, target: ".quiet", size: 2, built: "jmp", now: "nop" }),
    staticCall({ name: "audit_hook", kind: "jmp", now: null }),
    ".quiet:",
    "mov r11, [rdi]",
    retpoline("call", "r11", true),
    ret(),
  ]);
}

function memory(unit: Unit): void {
  // Two entries at one place; of these the first applies (an empty replacement), the second does not.
  fn(unit, "memset", [
    alternative(
      ["jmp memset_orig"],
      [
        { feature: FEATURE.REP_GOOD, code: [] },
        { feature: FEATURE.ERMS, code: ["jmp memset_erms"] },
      ],
      () => nops(5),
    ),
    "mov r9, rdi",
    "mov rcx, rdx",
    "movzx eax, sil",
    "rep stosb",
    "mov rax, r9",
    ret(),
  ]);
  fn(unit, "memset_erms", ["rep stosb", ret()]);
  fn(unit, "memset_orig", ["mov rax, rdi", ret()]);
  // A call in the replacement, which has to reach its target from the new place.
  fn(unit, "clear_huge_page", [
    mcount(),
    "push rbx",
    alternative(
      ["call clear_page_orig"],
      [
        { feature: FEATURE.REP_GOOD, code: ["call clear_page_rep"] },
        { feature: FEATURE.ERMS, code: ["call clear_page_erms"] },
      ],
      (m, at) => callTo(m, at, "clear_page_rep"),
    ),
    "pop rbx",
    ret(),
  ]);
  fn(unit, "clear_page_rep", ["mov ecx, 512", "xor eax, eax", "rep stosq", ret()]);
  fn(unit, "clear_page_erms", ["mov ecx, 4096", "xor eax, eax", "rep stosb", ret()]);
  fn(unit, "clear_page_orig", ["xor eax, eax", ret()]);
  // A far jump and a near one in a replacement: the near one shrinks to two bytes.
  fn(unit, "copy_user_generic", [
    alternative(["nop"], [{ feature: FEATURE.REP_GOOD, code: ["jmp memset_orig"] }], (m, at) =>
      jumpTo(m, at, "memset_orig"),
    ),
    ret(),
  ]);
  fn(unit, "copy_user_short", [
    alternative(["nop"], [{ feature: FEATURE.REP_GOOD, code: ["jmp copy_user_tail"] }], (m, at) =>
      concat(Uint8Array.of(0xeb, Number(m.address("copy_user_tail") - at - 2n)), nops(3)),
    ),
    "mov rcx, rdx",
    "rep movsb",
    "copy_user_tail:",
    ret(),
  ]);
  // static_cpu_has(): the built jump goes to .altinstr_aux, which is freed after boot.
  fn(unit, "pgtable_l5_enabled", [
    mcount(),
    (w) => {
      const aux = w.unit.section(".altinstr_aux").bytes.length;
      w.elsewhere(".altinstr_aux", ["test byte [rip+boot_cpu_data+98], 1", "jne .yes", "jmp .no"]);
      alternative(
        [`jmp ${w.unit.place(".altinstr_aux", aux)}`],
        [
          { feature: FEATURE.ALWAYS, code: ["jmp .no"] },
          { feature: FEATURE.LA57, code: [] },
        ],
        (m, at) => concat(Uint8Array.of(0xeb, Number(m.address(w.target(".no")) - at - 2n)), nops(3)),
      )(w);
    },
    ".yes:",
    "mov eax, 1",
    ret(),
    ".no:",
    "xor eax, eax",
    ret(),
  ]);
  fn(unit, "pv_exercise", [
    mcount(),
    "push rbx",
    direct("cpu.io_delay"),
    direct("mmu.exit_mmap"),
    direct("cpu.set_ldt"),
    direct("mmu.flush_tlb_user"),
    paravirtCall({
      slot: "pv_ops.mmu.read_cr3",
      index: pvMember("mmu.read_cr3").index,
      to: "__native_read_cr3",
      native: { code: ["mov rax, cr3"], bytes: "0f20d8", unless: FEATURE.XENPV },
    }),
    // A feature that is absent: the padding becomes a long nop all the same.
    alternative(["mov eax, 1"], [{ feature: FEATURE.XENPV, code: ["mov rax, 0x1122334455667788"] }], () =>
      concat(hex("b801000000"), nops(5)),
    ),
    "pop rbx",
    ret(),
  ]);
}

/** Functions that modules call. */
function services(unit: Unit): void {
  fn(unit, "_printk", [mcount(), "xor eax, eax", ret()]);
  fn(unit, "register_chrdev_region", [mcount(), "mov eax, edi", ret()]);
  fn(unit, "unregister_chrdev_region", [mcount(), ret()]);
  fn(unit, "mutex_lock", [
    mcount(),
    staticCall({ name: "might_resched", kind: "call", now: "__static_call_return0" }),
    "mov rdx, gs:[rip+current_task]",
    "xor eax, eax",
    smpLock("cmpxchg [rdi], rdx"),
    ret(),
  ]);
  fn(unit, "mutex_unlock", [
    mcount(),
    "mov rax, gs:[rip+current_task]",
    "xor edx, edx",
    smpLock("cmpxchg [rdi], rdx"),
    ret(),
  ]);
}

export function kernelCode(unit: Unit, options: { readonly probed: boolean }): void {
  idle(unit);
  files(unit, options.probed);
  memory(unit);
  services(unit);
}

/** Text that is given back after boot; its sites were patched while it lived. */
export function initCode(unit: Unit): void {
  const init = { section: ".init.text" };
  fn(unit, "check_bugs", [mcount(), "call alternative_instructions", ret()], init);
  fn(unit, "alternative_instructions", [mcount(), "mov eax, 1", ret()], init);
  fn(
    unit,
    "start_kernel",
    [mcount(), "push rbx", irqDisable(), "call check_bugs", "call rest_init", mark("start_kernel"), bug(1080)],
    init,
  );
  fn(unit, "cleanup_nothing", [mcount(), ret()], { section: ".exit.text", global: false });
}
