// The macros that emit patch sites as a 3.0 build has them, and what its boot makes of them. Table layouts and rules:
// arch/x86/kernel/alternative.c, paravirt.c, paravirt_patch_64.c and jump_label.c of 3.0; K8 nops.

import type { FunctionWriter } from "../asm/function.ts";
import { callTo, concat, NEAR_CALL, near } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import type { Machine } from "../object/unit.ts";
import { pvMember } from "./paravirt.ts";

type Macro = (w: FunctionWriter) => void;

const K8 = ["", "90", "6690", "666690", "66666690", "6666906690", "666690666690", "66666690666690", "6666669066666690"];

/** The nops that a 3.0 kernel takes on AMD and older Intel processors (k8_nops). */
export function k8Nops(length: number): Uint8Array {
  let text = "";
  for (let left = length; left > 0; left -= Math.min(left, 8)) text += K8[Math.min(left, 8)];
  return hex(text);
}

/** ideal_nops[NOP_ATOMIC5]: one instruction, so that it can be replaced in one go. */
export const ATOMIC5 = hex("6666666690");

/** `call mcount`; nothing is traced in this specimen. */
export function mcount(): Macro {
  return (w) => {
    w.site({ mechanism: "ftrace", length: 5, after: () => ATOMIC5 });
    w.unit.word("__mcount_loc", w.unit.place(w.section, w.offset));
    w.unit.traced.push({ place: w.unit.place(w.section, w.offset), flags: 0n });
    w.line("call mcount");
  };
}

/** An instruction whose `lock` prefix becomes a DS prefix on one CPU. */
export function smpLock(line: string): Macro {
  return (w) => {
    w.site({ mechanism: "smp-locks", length: 1, after: (m) => (m.cpus === 1 ? hex("3e") : undefined) });
    w.unit.relative(".smp_locks", w.unit.place(w.section, w.offset));
    w.line(`lock ${line}`);
  };
}

/** static_branch(): built as a jump to the next instruction. */
export function jumpLabel(key: string, target: string, now: "nop" | "jmp"): Macro {
  return (w) => {
    const at = w.offset;
    w.site({
      mechanism: "jump-labels",
      length: 5,
      slot: key,
      after: (m, a) => (now === "nop" ? ATOMIC5 : near(0xe9, a, m.address(w.target(target)))),
    });
    w.bytes(hex("e900000000"));
    w.atEnd(() => {
      w.unit.section("__jump_table", { align: 8, flags: 3 });
      w.unit.word("__jump_table", w.unit.place(w.section, at));
      w.unit.word("__jump_table", w.target(target));
      w.unit.word("__jump_table", key);
    });
  };
}

/** ALTERNATIVE(old, new, feature): 24-byte entries; the replacement is not longer than what it replaces. */
export function alternative(
  old: readonly string[],
  feature: number,
  code: readonly string[],
  after: (m: Machine, at: bigint) => Uint8Array | undefined,
): Macro {
  return (w) => {
    const start = w.offset;
    for (const line of old) w.line(line);
    const repl = w.unit.section(".altinstr_replacement");
    const at = repl.bytes.length;
    w.elsewhere(".altinstr_replacement", code);
    const table = w.unit.section(".altinstructions", { align: 8 }).bytes;
    w.unit.word(".altinstructions", w.unit.place(w.section, start));
    w.unit.word(".altinstructions", w.unit.place(".altinstr_replacement", at));
    table
      .u16(feature)
      .u8(w.offset - start)
      .u8(repl.bytes.length - at)
      .u32(0);
    w.site({ mechanism: "alternatives", offset: start, length: w.offset - start, after });
  };
}

/** Code that native_patch() puts in place of a call. */
const NATIVE: Readonly<Record<string, string>> = {
  "pv_irq_ops.irq_disable": "fa",
  "pv_irq_ops.irq_enable": "fb",
  "pv_irq_ops.restore_fl": "579d",
  "pv_irq_ops.save_fl": "9c58",
  "pv_mmu_ops.read_cr2": "0f20d0",
  "pv_mmu_ops.read_cr3": "0f20d8",
  "pv_mmu_ops.write_cr3": "0f22df",
  "pv_mmu_ops.flush_tlb_single": "0f013f",
  "pv_cpu_ops.clts": "0f06",
  "pv_cpu_ops.wbinvd": "0f09",
};
const CLBR_ANY = 0x1ff;
const CLBR_RET_REG = 1;

/**
 * `call *pv_GROUP_ops+OFFSET` with an absolute 32-bit address, seven bytes.
 * @param to the function in the slot when this site was patched; default: the native one
 */
export function paravirtCall(path: string, to?: string): Macro {
  const member = pvMember(path);
  const target = to ?? member.value;
  return (w) => {
    const table = w.unit.section(".parainstructions", { align: 8 });
    table.bytes.align(8);
    w.unit.word(".parainstructions", w.unit.place(w.section, w.offset));
    // Functions that save their registers themselves promise the site more than any C function may keep.
    const calleeSave = /_fl$|^irq_(en|dis)able$/.test(member.name);
    table.bytes
      .u8(member.index)
      .u8(7)
      .u16(calleeSave ? CLBR_RET_REG : CLBR_ANY)
      .zeros(4);
    const inline = NATIVE[path];
    w.site({
      mechanism: "paravirt",
      length: 7,
      slot: path,
      after: (m, at) => {
        if (inline) return concat(hex(inline), k8Nops(7 - inline.length / 2));
        if (target === "_paravirt_nop") return k8Nops(7);
        if (target === "_paravirt_ident_64") return concat(hex("4889f8"), k8Nops(4));
        return concat(callTo(m, at, target), k8Nops(7 - NEAR_CALL));
      },
    });
    w.line(`call [abs ${member.group}+${member.offset}]`);
  };
}

/** BUG(): ud2 with its entry in __bug_table. */
export function bug(line: number): Macro {
  return (w) => {
    const table = w.unit.section("__bug_table", { flags: 2 });
    w.unit.relative("__bug_table", w.unit.place(w.section, w.offset));
    w.unit.relative("__bug_table", "bug_file_name");
    table.bytes.u16(line).u16(0);
    w.line("ud2");
  };
}
