// The init text of the 3.0 specimen: the call graph from start_kernel down to the two steps that the bug is about, in
// the order of init/main.c and arch/x86/kernel of that release.
import { fn, mark } from "../asm/function.ts";
import type { Unit } from "../object/unit.ts";
import { framed, LEAVE } from "./code-locks.ts";
import { bug, smpLock } from "./sites.ts";

const INIT = { section: ".init.text" };

export function bootText(unit: Unit): void {
  framed(unit, "native_smp_prepare_cpus", ["mov eax, 1", ...LEAVE], INIT);
  framed(
    unit,
    "start_kernel",
    [
      "call setup_arch",
      "call setup_per_cpu_areas",
      "call check_bugs",
      "call rest_init",
      mark("start_kernel"),
      bug(642),
    ],
    INIT,
  );
  // The place where a paravirtualised guest joins; a symbol of its own keeps the jump out of the call graph's way.
  fn(unit, "start_kernel_entry", ["call start_kernel", "ud2"], { ...INIT, orc: false });
  framed(unit, "setup_arch", ["call init_hypervisor_platform", ...LEAVE], INIT);
  framed(
    unit,
    "init_hypervisor_platform",
    [
      // The first of hypervisors[] whose detect() says yes; here there is one.
      "push rbx",
      "mov rbx, [rip+hypervisors]",
      "call [rbx+8]",
      "test eax, eax",
      "je .bare",
      "mov [rip+x86_hyper], rbx",
      "call [rbx+24]",
      ".bare:",
      "pop rbx",
      ...LEAVE,
    ],
    INIT,
  );
  framed(unit, "setup_per_cpu_areas", LEAVE, INIT);
  framed(unit, "check_bugs", ["call alternative_instructions", ...LEAVE], INIT);
  framed(
    unit,
    "alternative_instructions",
    [
      "mov rsi, $__alt_instructions_end",
      "mov rdi, $__alt_instructions",
      "call apply_alternatives",
      "call alternatives_smp_switch",
      "mov rsi, $__parainstructions_end",
      "mov rdi, $__parainstructions",
      "call apply_paravirt",
      ...LEAVE,
    ],
    INIT,
  );
  framed(
    unit,
    "kernel_init",
    [
      "push rbx",
      "mov edi, [rip+setup_max_cpus]",
      "call [rip+smp_ops+8]",
      "call do_pre_smp_initcalls",
      "call smp_init",
      "call do_basic_setup",
      "call init_post",
      "pop rbx",
      ...LEAVE,
    ],
    INIT,
  );
  framed(unit, "do_pre_smp_initcalls", ["call jump_label_init", ...LEAVE], INIT);
  framed(unit, "jump_label_init", [smpLock("inc dword [rip+setup_max_cpus]"), ...LEAVE], INIT);
  framed(unit, "smp_init", LEAVE, INIT);
  framed(unit, "do_basic_setup", LEAVE, INIT);
  framed(unit, "init_post", ["call free_initmem", ...LEAVE]);
  framed(unit, "free_initmem", LEAVE);
  // Modules are patched by these too, so they stay.
  framed(unit, "apply_alternatives", [
    ".next:",
    "cmp rdi, rsi",
    "jae .done",
    "add rdi, 24",
    "jmp .next",
    ".done:",
    ...LEAVE,
  ]);
  framed(unit, "alternatives_smp_switch", LEAVE);
  framed(unit, "apply_paravirt", [
    `push r12
     push rbx
     mov rbx, rdi
     mov r12, rsi
     .next:
     cmp rbx, r12
     jae .done
     movzx edi, byte [rbx+8]
     movzx esi, word [rbx+10]
     mov rcx, [rbx]
     movzx r8d, byte [rbx+9]
     call [rip+pv_init_ops]
     add rbx, 16
     jmp .next
     .done:
     pop rbx
     pop r12`,
    ...LEAVE,
  ]);
  framed(unit, "sys_init_module", ["call load_module", ...LEAVE]);
  framed(unit, "load_module", ["call module_finalize", ...LEAVE]);
  framed(unit, "module_finalize", ["call apply_alternatives", "call apply_paravirt", ...LEAVE]);
}
