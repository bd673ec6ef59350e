// Spinlocks of the ticket era: __ticket_spin_* (arch/x86/include/asm/spinlock.h), xen_spin_* (arch/x86/xen/spinlock.c)
// and the out-of-line _raw_spin_* around them, at the addresses that the bug's report quotes.
import { type FunctionOptions, fn, mark, type Part } from "../asm/function.ts";
import type { Unit } from "../object/unit.ts";
import { LOCK_FUNCTIONS, type LockSide, pvMember } from "./paravirt.ts";
import { mcount, paravirtCall, smpLock } from "./sites.ts";
import type { Story } from "./story.ts";

/** Offsets in .text of the functions whose addresses the report shows. */
export const PLACES = { xen_spin_unlock: 0x9140, __ticket_spin_lock: 0x33900, _raw_spin_lock_irq: 0x5fd180 } as const;

/** A function compiled with frame pointers and -pg. */
export function framed(unit: Unit, name: string, body: readonly Part[], options: FunctionOptions = {}): void {
  fn(unit, name, ["push rbp", "mov rbp, rsp", mcount(), ...body], { orc: false, ...options });
}

export const LEAVE: readonly Part[] = ["pop rbp", "ret"];
const LOCAL = { global: false };

/** Takes a ticket and waits for its turn. @param w true for 16-bit halves */
const takeTicket = (w: boolean): readonly Part[] =>
  w
    ? [
        "mov eax, 0x10000",
        smpLock("xadd [rdi], eax"),
        "movzx edx, ax",
        "shr eax, 16",
        ".wait:",
        "cmp edx, eax",
        "je .got",
        "pause",
        mark("ticket wait"),
        "movzx edx, word [rdi]",
        "jmp .wait",
        ".got:",
      ]
    : [
        "mov eax, 0x100",
        smpLock("xadd [rdi], ax"),
        ".wait:",
        "cmp al, ah",
        "je .got",
        "pause",
        mark("ticket wait"),
        "mov al, [rdi]",
        "jmp .wait",
        ".got:",
      ];

const dropTicket = (w: boolean): string => (w ? "inc word [rdi]" : "inc byte [rdi]");

export type LockOperation = "spin_is_locked" | "spin_lock" | "spin_lock_flags" | "spin_trylock" | "spin_unlock";

/** One lock operation at a site: a paravirt call patched with `side`'s function, or the ticket code inline. */
export function lockOperation(story: Story, operation: LockOperation, side: LockSide): readonly Part[] {
  if (story.pvLocks) {
    const path = `pv_lock_ops.${operation}`;
    const index = pvMember(path).offset / 8;
    return [paravirtCall(path, LOCK_FUNCTIONS[side][index])];
  }
  if (operation === "spin_unlock") return [dropTicket(story.wide)];
  if (operation === "spin_trylock") return tryTicket(story.wide);
  if (operation === "spin_is_locked") return isLocked(story.wide);
  return takeTicket(story.wide);
}

const tryTicket = (w: boolean): readonly Part[] => [
  w ? "mov eax, [rdi]\nmov edx, eax\nrol eax, 16\ncmp edx, eax" : "movzx eax, word [rdi]\ncmp al, ah",
  w ? "lea edx, [rax+0x10000]" : "lea edx, [rax+0x100]",
  "jne .held",
  smpLock(w ? "cmpxchg [rdi], edx" : "cmpxchg [rdi], dx"),
  ".held:",
  "sete dl",
  "movzx eax, dl",
];

const isLocked = (w: boolean): readonly Part[] => [
  `mov eax, [rdi]
   mov edx, eax
   shr edx, ${w ? 16 : 8}
   xor eax, edx
   test ${w ? "ax, ax" : "al, al"}
   setne al
   movzx eax, al`,
];

function ticketFunctions(unit: Unit, story: Story): void {
  const w = story.wide;
  framed(unit, "__ticket_spin_is_locked", [...isLocked(w), ...LEAVE], LOCAL);
  framed(
    unit,
    "__ticket_spin_is_contended",
    [
      `mov eax, [rdi]
       mov edx, eax
       shr edx, ${w ? 16 : 8}
       sub edx, eax
       movzx eax, ${w ? "dx" : "dl"}
       cmp eax, 1
       setg al
       movzx eax, al`,
      ...LEAVE,
    ],
    LOCAL,
  );
  framed(unit, "__ticket_spin_lock", [...takeTicket(w), ...LEAVE], { ...LOCAL, at: PLACES.__ticket_spin_lock });
  framed(
    unit,
    "default_spin_lock_flags",
    [...lockOperation(story, "spin_lock", story.core), mark("default_spin_lock_flags", 2), ...LEAVE],
    LOCAL,
  );
  framed(unit, "__ticket_spin_trylock", [...tryTicket(w), ...LEAVE], LOCAL);
  framed(unit, "__ticket_spin_unlock", [dropTicket(w), ...LEAVE], LOCAL);
}

/** xen_spin_lock_slow(): announce, look once more, sleep until kicked; returns whether the lock was taken. */
const SLOW: readonly Part[] = [
  `push r14
   push r13
   push r12
   push rbx
   mov rbx, rdi
   mov r14d, esi
   mov r12d, gs:[rip+lock_kicker_irq]
   xor eax, eax
   cmp r12d, -1
   je near .out
   mov r13, gs:[rip+lock_spinners]
   mov gs:[rip+lock_spinners], rbx`,
  smpLock("inc word [rbx+2]"),
  `.again:
   mov edi, r12d
   call xen_clear_irq_pending
   mov eax, 1
   xchg [rbx], al
   test al, al
   je .taken`,
  paravirtCall("pv_irq_ops.save_fl"),
  "push rax",
  "test r14b, r14b",
  "je .closed",
  paravirtCall("pv_irq_ops.irq_enable"),
  `.closed:
   mov edi, r12d
   call xen_poll_irq
   pop rdi`,
  paravirtCall("pv_irq_ops.restore_fl"),
  `mov edi, r12d
   call xen_test_irq_pending
   test al, al
   je .again
   xor eax, eax
   jmp .done
   .taken:
   test r13, r13
   je .alone
   mov edi, r12d
   call xen_set_irq_pending
   .alone:
   mov eax, 1
   .done:`,
  smpLock("dec word [rbx+2]"),
  `mov gs:[rip+lock_spinners], r13
   .out:
   pop rbx
   pop r12
   pop r13
   pop r14`,
  ...LEAVE,
];

/** @param enable loads esi: whether interrupts may be let in while it sleeps */
const xenLock = (enable: string): readonly Part[] => [
  `push r12
   push rbx
   mov rbx, rdi
   ${enable}
   .again:
   mov edx, 0x400
   mov eax, 1
   .try:
   xchg [rbx], al
   test al, al
   je .got
   .spin:
   pause
   cmp byte [rbx], 0
   je .try
   dec edx
   jne .spin
   mov rdi, rbx
   mov esi, r12d
   call xen_spin_lock_slow
   test eax, eax
   je .again
   .got:
   pop rbx
   pop r12`,
  ...LEAVE,
];

function xenFunctions(unit: Unit): void {
  framed(unit, "xen_spin_is_locked", ["xor eax, eax", "cmp byte [rdi], 0", "setne al", ...LEAVE], LOCAL);
  framed(unit, "xen_spin_is_contended", ["xor eax, eax", "cmp word [rdi+2], 0", "setne al", ...LEAVE], LOCAL);
  framed(
    unit,
    "xen_spin_trylock",
    ["mov eax, 1", "xchg [rdi], al", "test al, al", "sete al", "movzx eax, al", ...LEAVE],
    LOCAL,
  );
  framed(unit, "xen_spin_lock_slow", SLOW, LOCAL);
  framed(unit, "xen_spin_lock", xenLock("xor r12d, r12d"), LOCAL);
  framed(unit, "xen_spin_lock_flags", xenLock("mov r12d, esi\nshr r12d, 9\nand r12d, 1"), LOCAL);
  framed(
    unit,
    "xen_spin_unlock_slow",
    [
      `push r12
       push rbx
       mov r12, rdi
       xor ebx, ebx
       .cpu:
       cmp ebx, [rip+nr_cpu_ids]
       jae .none
       mov rax, [rbx*8+__per_cpu_offset]
       mov rdx, $lock_spinners
       cmp [rax+rdx], r12
       je .kick
       inc ebx
       jmp .cpu
       .kick:
       mov esi, 3
       mov edi, ebx
       call xen_send_IPI_one
       .none:
       pop rbx
       pop r12`,
      ...LEAVE,
    ],
    LOCAL,
  );
  framed(
    unit,
    "xen_spin_unlock",
    [
      "mov byte [rdi], 0",
      "mfence",
      "cmp word [rdi+2], 0",
      "jne .kick",
      ...LEAVE,
      ".kick:",
      "call xen_spin_unlock_slow",
      ...LEAVE,
    ],
    { ...LOCAL, at: PLACES.xen_spin_unlock },
  );
}

/** The lock functions at the low end of .text. */
export function lockImplementations(unit: Unit, story: Story): void {
  if (!story.pvLocks) return;
  xenFunctions(unit);
}

/** The ticket functions, further up. */
export function ticketImplementations(unit: Unit, story: Story): void {
  if (story.pvLocks) ticketFunctions(unit, story);
}

const irqDisable = () => paravirtCall("pv_irq_ops.irq_disable");

/** The out-of-line functions that everybody calls, in .spinlock.text at the end of .text. */
export function rawSpinFunctions(unit: Unit, story: Story): void {
  const op = (operation: LockOperation) => lockOperation(story, operation, story.core);
  framed(unit, "_raw_spin_lock_irq", [irqDisable(), ...op("spin_lock"), ...LEAVE], { at: PLACES._raw_spin_lock_irq });
  framed(unit, "_raw_spin_lock", [...op("spin_lock"), ...LEAVE]);
  const flags = paravirtCall("pv_irq_ops.save_fl");
  framed(unit, "_raw_spin_lock_irqsave", [
    "push rbx",
    flags,
    "mov rbx, rax",
    irqDisable(),
    "mov rsi, rbx",
    ...op("spin_lock_flags"),
    mark("_raw_spin_lock_irqsave", 2),
    "mov rax, rbx",
    "pop rbx",
    ...LEAVE,
  ]);
  framed(unit, "_raw_spin_trylock", [...op("spin_trylock"), ...LEAVE]);
  framed(unit, "_raw_spin_unlock_irqrestore", [
    "push rbx",
    "mov rbx, rsi",
    ...op("spin_unlock"),
    "mov rdi, rbx",
    paravirtCall("pv_irq_ops.restore_fl"),
    "pop rbx",
    ...LEAVE,
  ]);
  framed(unit, "_raw_spin_unlock_bh", [...op("spin_unlock"), "call local_bh_enable", ...LEAVE]);
  framed(unit, "_raw_spin_lock_bh", ["call local_bh_disable", ...op("spin_lock"), ...LEAVE]);
}
