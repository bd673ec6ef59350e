// Running as a Xen HVM guest: event channels behind the lock kicker, and the two steps of the boot whose order makes
// the bug (arch/x86/xen/smp.c, enlighten.c; drivers/xen/events.c of 3.0).
import { fn, type Part } from "../asm/function.ts";
import type { Unit } from "../object/unit.ts";
import { framed, LEAVE } from "./code-locks.ts";
import { LOCK_FUNCTIONS, pvMember } from "./paravirt.ts";
import { smpLock } from "./sites.ts";
import type { Story } from "./story.ts";

const INIT = { section: ".init.text" };
const HYPERVISOR_SCHED_OP = 29;
const HYPERVISOR_EVENT_CHANNEL_OP = 32;
/** offsetof(struct shared_info, evtchn_pending) on x86-64 */
const EVTCHN_PENDING = 0x800;

/** Loads rsi with the shared info page's pending bits and edi with the event channel of the irq in edi. */
const PENDING = `
  mov rsi, [rip+HYPERVISOR_shared_info]
  add rsi, ${EVTCHN_PENDING}
  movsxd rdi, edi
  movzx edi, word [rdi*2+irq_to_evtchn]`;

/** Event channels as the lock's slow path uses them. */
export function eventChannels(unit: Unit): void {
  framed(unit, "xen_clear_irq_pending", [PENDING, smpLock("btr [rsi], rdi"), ...LEAVE]);
  framed(unit, "xen_set_irq_pending", [PENDING, smpLock("bts [rsi], rdi"), ...LEAVE]);
  framed(unit, "xen_test_irq_pending", [PENDING, "bt [rsi], rdi", "setb al", ...LEAVE]);
  // struct sched_poll {ports *; nr_ports; u64 timeout}, on the stack
  framed(unit, "xen_poll_irq", [
    `sub rsp, 0x20
     movsxd rdi, edi
     movzx edi, word [rdi*2+irq_to_evtchn]
     mov [rsp+0x18], edi
     lea rax, [rsp+0x18]
     mov [rsp], rax
     mov dword [rsp+8], 1
     mov qword [rsp+16], 0
     mov edi, 3
     mov rsi, rsp
     call hypercall_page+${HYPERVISOR_SCHED_OP * 32}
     add rsp, 0x20`,
    ...LEAVE,
  ]);
  framed(unit, "xen_send_IPI_one", [
    `sub rsp, 0x10
     movsxd rdi, edi
     mov rax, [rdi*8+__per_cpu_offset]
     mov rdx, $ipi_to_irq
     movsxd rsi, esi
     lea rdx, [rdx+rsi*4]
     movsxd rax, dword [rax+rdx]
     movzx eax, word [rax*2+irq_to_evtchn]
     mov [rsp], eax
     mov edi, 4
     mov rsi, rsp
     call hypercall_page+${HYPERVISOR_EVENT_CHANNEL_OP * 32}
     add rsp, 0x10`,
    ...LEAVE,
  ]);
}

/** xen_init_spinlocks(): six stores into pv_lock_ops. */
const SWITCH: readonly Part[] = LOCK_FUNCTIONS.xen.map(
  (name, i) => `mov qword [rip+pv_lock_ops+${pvMember("pv_lock_ops.spin_is_locked").offset + 8 * i}], $${name}`,
);

/** Xen's part of the init text. */
export function xenBoot(unit: Unit, story: Story): void {
  const { pvLocks, order } = story;
  framed(unit, "xen_hvm_platform", ["mov eax, 1", ...LEAVE], { ...INIT, global: false });
  framed(unit, "xen_init_lock_cpu", ["mov eax, edi", "mov dword gs:[rip+lock_kicker_irq], 17", ...LEAVE]);
  if (pvLocks) framed(unit, "xen_init_spinlocks", [...SWITCH, ...LEAVE], INIT);
  const switchNow: readonly Part[] = pvLocks
    ? ["xor edi, edi", "call xen_init_lock_cpu", "call xen_init_spinlocks"]
    : [];
  // A paravirtualised guest switches before anything is patched; that has always been right.
  framed(unit, "xen_smp_init", ["mov qword [rip+smp_ops+8], $native_smp_prepare_cpus", ...switchNow, ...LEAVE], INIT);
  fn(unit, "xen_start_kernel", ["call xen_smp_init", "jmp near start_kernel_entry"], { ...INIT, orc: false });
  if (order === "none") {
    framed(unit, "xen_hvm_guest_init", ["mov dword [rip+xen_domain_type], 2", ...LEAVE], INIT);
    return;
  }
  framed(
    unit,
    "xen_hvm_smp_prepare_cpus",
    [
      "push rbx",
      "call native_smp_prepare_cpus",
      "cmp byte [rip+xen_have_vector_callback], 0",
      "je .done",
      ...(order === "late" ? switchNow : []),
      ".done:",
      "pop rbx",
      ...LEAVE,
    ],
    INIT,
  );
  framed(unit, "xen_hvm_smp_init", ["mov qword [rip+smp_ops+8], $xen_hvm_smp_prepare_cpus", ...LEAVE], INIT);
  framed(
    unit,
    "xen_hvm_guest_init",
    [
      "mov dword [rip+xen_domain_type], 2",
      "mov byte [rip+xen_have_vector_callback], 1",
      "call xen_hvm_smp_init",
      ...(order === "early" ? switchNow : []),
      ...LEAVE,
    ],
    INIT,
  );
}
