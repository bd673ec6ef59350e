// Spin locks: the queued spin lock of kernel/locking/qspinlock.c (6.1) and the out-of-line _raw_spin_* functions
// around it, with their paravirt calls, lock prefixes and static branch.
import { fn, type Part } from "../asm/function.ts";
import type { Unit } from "../object/unit.ts";
import { FEATURE } from "./features.ts";
import { pvMember } from "./paravirt.ts";
import { jumpLabel, mcount, paravirtCall, ret, smpLock, staticCall } from "./sites.ts";

const LOCKS = ".spinlock.text";

function slot(path: string) {
  const m = pvMember(path);
  return { slot: `pv_ops.${path}`, index: m.index, to: m.value };
}

export const irqDisable = () =>
  paravirtCall({ ...slot("irq.irq_disable"), native: { code: ["cli"], bytes: "fa", unless: FEATURE.XENPV } });
export const irqEnable = () =>
  paravirtCall({ ...slot("irq.irq_enable"), native: { code: ["sti"], bytes: "fb", unless: FEATURE.XENPV } });
const saveFlags = () =>
  paravirtCall({
    ...slot("irq.save_fl"),
    native: { code: ["pushfq", "pop rax"], bytes: "9c58", unless: FEATURE.XENPV },
  });
const unlockByte = () =>
  paravirtCall({
    ...slot("lock.queued_spin_unlock"),
    native: { code: ["mov byte [rdi], 0"], bytes: "c60700", unless: FEATURE.PVUNLOCK },
  });
const slowpath = () => paravirtCall(slot("lock.queued_spin_lock_slowpath"));

/** queued_spin_lock(): 0 → locked, or the slow path with the value that was there. */
const acquire = (): readonly Part[] => [
  `inc dword gs:[rip+__preempt_count]
   xor eax, eax
   mov edx, 1`,
  smpLock("cmpxchg [rdi], edx"),
  "jne .slow",
];

/** preempt_enable(): the count falls, and at zero the scheduler is asked. */
const leave = (): readonly Part[] => [
  "dec dword gs:[rip+__preempt_count]",
  "je .resched",
  ret(),
  ".resched:",
  staticCall({ name: "preempt_schedule", kind: "call", now: "preempt_schedule" }),
  ret(),
];

const SLOWPATH: readonly Part[] = [
  mcount(),
  jumpLabel({ key: "virt_spin_lock_key", likely: true, target: ".native", size: 2, built: "nop", now: "jmp" }),
  `.virt:
   cmp dword [rdi], 0
   jne .virt_wait
   xor eax, eax
   mov edx, 1`,
  smpLock("cmpxchg [rdi], edx"),
  "jne .virt_wait",
  ret(),
  `.virt_wait:
   pause
   jmp .virt
   .native:
   cmp esi, 0x100
   jne .contended
   mov ecx, 0x200
   .handover:
   mov esi, [rdi]
   cmp esi, 0x100
   jne .contended
   pause
   dec ecx
   jne .handover
   .contended:
   test esi, 0xffffff00
   jne near .queue`,
  smpLock("bts dword [rdi], 8"),
  `setc al
   movzx eax, al
   shl eax, 8
   mov ecx, [rdi]
   and ecx, 0xfffffeff
   or eax, ecx
   test eax, 0xffffff00
   jne .undo
   .owner:
   cmp byte [rdi], 0
   je .take
   pause
   jmp .owner
   .take:
   mov word [rdi], 1`,
  ret(),
  `.undo:
   test eax, 0x100
   jne .queue
   mov byte [rdi+1], 0
   .queue:
   push rbp
   push rbx
   mov rbx, gs:[rip+this_cpu_off]
   add rbx, $qnodes
   mov eax, [rbx+12]
   lea ecx, [rax+1]
   mov [rbx+12], ecx
   mov ecx, gs:[rip+cpu_number]
   inc ecx
   shl ecx, 18
   mov edx, eax
   shl edx, 16
   or ecx, edx
   cmp eax, 4
   jb .node
   .spin:
   xor eax, eax
   mov edx, 1`,
  smpLock("cmpxchg [rdi], edx"),
  `je near .release
   pause
   jmp .spin
   .node:
   shl rax, 5
   lea rbp, [rbx+rax]
   mov dword [rbp+8], 0
   mov qword [rbp], 0
   xor eax, eax
   mov edx, 1
   cmp dword [rdi], 0
   jne .enqueue`,
  smpLock("cmpxchg [rdi], edx"),
  `je near .release
   .enqueue:
   mov eax, ecx
   shr eax, 16
   xchg [rdi+2], ax
   movzx eax, ax
   xor r8d, r8d
   test eax, eax
   je .head
   mov edx, eax
   and edx, 3
   shl rdx, 5
   shr eax, 2
   dec eax
   mov rax, [rax*8+__per_cpu_offset]
   add rax, $qnodes
   add rax, rdx
   mov [rax], rbp
   .link:
   cmp dword [rbp+8], 0
   jne .linked
   pause
   jmp .link
   .linked:
   mov r8, [rbp]
   .head:
   mov eax, [rdi]
   test ax, ax
   je .free
   pause
   jmp .head
   .free:
   mov edx, eax
   and edx, 0xffff0000
   cmp edx, ecx
   jne .others
   mov edx, 1`,
  smpLock("cmpxchg [rdi], edx"),
  `je .release
   .others:
   mov byte [rdi], 1
   .successor:
   test r8, r8
   jne .wake
   mov r8, [rbp]
   pause
   jmp .successor
   .wake:
   mov dword [r8+8], 1
   .release:
   dec dword [rbx+12]
   pop rbx
   pop rbp`,
  ret(),
];

export function lockCode(unit: Unit): void {
  const at = { section: LOCKS };
  fn(unit, "native_queued_spin_lock_slowpath", SLOWPATH, at);
  const slow: readonly Part[] = [ret(), ".slow:", "mov esi, eax", slowpath(), ret()];
  fn(unit, "_raw_spin_lock", [mcount(), ...acquire(), ...slow], at);
  fn(unit, "_raw_spin_lock_irq", [mcount(), irqDisable(), ...acquire(), ...slow], at);
  fn(
    unit,
    "_raw_spin_lock_irqsave",
    [
      mcount(),
      "push rbx",
      saveFlags(),
      "mov rbx, rax",
      irqDisable(),
      ...acquire(),
      "mov rax, rbx",
      "pop rbx",
      ret(),
      ".slow:",
      "mov esi, eax",
      slowpath(),
      "mov rax, rbx",
      "pop rbx",
      ret(),
    ],
    at,
  );
  fn(unit, "_raw_spin_unlock", [mcount(), unlockByte(), ...leave()], at);
  fn(unit, "_raw_spin_unlock_irq", [mcount(), unlockByte(), irqEnable(), ...leave()], at);
  fn(
    unit,
    "_raw_spin_unlock_irqrestore",
    [mcount(), unlockByte(), "and esi, 0x200", "je .off", irqEnable(), ".off:", ...leave()],
    at,
  );
}
