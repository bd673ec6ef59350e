// The floppy module of the bug, with the bytes that the report quotes at the places where it quotes them: .text is
// loaded at ffffffffa001a000, redo_fd_request starts at +0x6c90 and takes floppy_lock at +0x6e07.
import { mark, type Part, padTo } from "../asm/function.ts";
import { hex } from "../bytes.ts";
import { layOutModule } from "../object/load-module.ts";
import { writeModule } from "../object/module-file.ts";
import type { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { framed, LEAVE, lockOperation } from "./code-locks.ts";
import { RULES } from "./module-30.ts";
import { beginModule, finishModule } from "./module-unit.ts";
import { jumpLabel, paravirtCall, smpLock } from "./sites.ts";
import type { Story } from "./story.ts";

export const FLOPPY_BASE = 0xffffffffa001a000n;
/** current_req and, behind it, floppy_lock: offsets from the module's base, from the report's displacements. */
const CURRENT_REQ = 0xbef0;
const LOCAL = { global: false };

/** The heart of the matter: lock, look for a request, unlock; when there is none, take the lock again. */
function redoRequest(story: Story): readonly Part[] {
  return [
    "push r12",
    "push rbx",
    "mov r12, $floppy_lock",
    "jmp near .fetch",
    padTo(0x6ce3),
    ".top:",
    "mov rax, [rip+current_req]",
    "inc qword [rax+8]",
    "jmp near .fetch",
    padTo(0x6dec),
    ".more:",
    "mov ecx, 5",
    "jmp near .top",
    (w) => w.bytes(hex("66 2e 0f 1f 84 00 00 00 00 00")),
    ".fetch:",
    "mov rdi, $floppy_lock",
    "call _raw_spin_lock_irq",
    "call set_next_request",
    "mov rdi, r12",
    "mov ebx, eax",
    ...lockOperation(story, "spin_unlock", story.module),
    paravirtCall("pv_irq_ops.irq_enable"),
    "test ebx, ebx",
    "je near .none",
    "mov rax, [rip+current_req]",
    "mov rdx, [rax]",
    "jmp near .more",
    padTo(0x6f48),
    // unlock_fdc(), inlined
    ".none:",
    "mov rdi, r12",
    "call _raw_spin_lock_irqsave",
    mark("redo_fd_request"),
    "mov dword [rip+fdc_busy], 0",
    "mov rdi, r12",
    "mov rsi, rax",
    "call _raw_spin_unlock_irqrestore",
    "pop rbx",
    "pop r12",
    ...LEAVE,
  ];
}

function text(unit: Unit, story: Story): void {
  framed(
    unit,
    "cancel_activity",
    [
      "push rbx",
      "mov rdi, $floppy_lock",
      "call _raw_spin_lock_irqsave",
      mark("cancel_activity"),
      "mov qword [rip+do_floppy], 0",
      "mov rdi, $floppy_lock",
      "mov rsi, rax",
      "call _raw_spin_unlock_irqrestore",
      "pop rbx",
      ...LEAVE,
    ],
    LOCAL,
  );
  framed(unit, "floppy_shutdown", ["call cancel_activity", mark("floppy_shutdown"), ...LEAVE], LOCAL);
  framed(
    unit,
    "do_fd_request",
    [
      jumpLabel("perf_sched_events", ".trace", "nop"),
      smpLock("inc dword [rip+usage_count]"),
      ".trace:",
      "lea rdi, [rip+floppy_work]",
      "call schedule_work",
      ...LEAVE,
    ],
    LOCAL,
  );
  framed(unit, "floppy_interrupt", ["xor eax, eax", ...LEAVE], LOCAL);
  framed(unit, "set_next_request", ["xor eax, eax", ...LEAVE], { ...LOCAL, at: 0x15e0 });
  framed(unit, "redo_fd_request", redoRequest(story), { ...LOCAL, at: 0x6c90 });
  framed(
    unit,
    "init_module",
    [
      "lea rsi, [rip+floppy_name]",
      "mov edi, 2",
      "call register_blkdev",
      "call do_fd_request",
      "mov edi, 10",
      "call msleep",
      ...LEAVE,
    ],
    { section: ".init.text" },
  );
  framed(unit, "cleanup_module", ["mov edi, 2", "call unregister_blkdev", ...LEAVE], { section: ".exit.text" });
}

function build(types: CTypes, story: Story, filler: number): Unit {
  const unit = beginModule(types, "floppy", "666c6f70707900000000000000000000000000fd");
  unit.object("floppy_name", ".rodata.str1.1", new TextEncoder().encode("fd\0"), 1, false);
  unit.words("floppy_work", ".data", [0n, "floppy_work+8", "floppy_work+8", "redo_fd_request"], 32, false);
  unit.object("floppy_sizes", ".bss", new Uint8Array(filler), 32, false);
  unit.object("current_req", ".bss", new Uint8Array(8), 8, false);
  unit.object("floppy_lock", ".bss", new Uint8Array(4), 4, false);
  unit.object("fdc_busy", ".bss", new Uint8Array(4), 4, false);
  unit.object("do_floppy", ".bss", new Uint8Array(8), 8, false);
  unit.object("usage_count", ".bss", new Uint8Array(4), 4, false);
  text(unit, story);
  return finishModule(unit, story);
}

/** The module; its uninitialised data is sized so that floppy_lock gets the address of the report. */
export function floppy(types: CTypes, story: Story): Unit {
  const draft = build(types, story, 32);
  const layout = layOutModule(draft, writeModule(draft), RULES);
  return build(types, story, CURRENT_REQ - layout.core.get(".bss")!);
}
