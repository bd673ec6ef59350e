// The native functions behind pv_ops. Each slot points to one, so that a direct call can be patched in.
import { fn, mark, type Part } from "../asm/function.ts";
import type { Unit } from "../object/unit.ts";
import { PV_MEMBERS } from "./paravirt.ts";
import { bug, mcount, ret } from "./sites.ts";

const NOINSTR = ".noinstr.text";

/** Bodies that other code or a reader may care for; all others just return. */
const BODIES: Readonly<Record<string, readonly Part[]>> = {
  native_save_fl: ["pushfq", "pop rax", ret()],
  pv_native_irq_disable: ["cli", ret()],
  pv_native_irq_enable: ["sti", ret()],
  native_safe_halt: ["sti", "hlt", mark("halted"), ret()],
  native_halt: ["hlt", ret()],
  pv_native_read_cr2: ["mov rax, cr2", ret()],
  pv_native_write_cr2: ["mov cr2, rdi", ret()],
  __native_read_cr3: ["mov rax, cr3", ret()],
  native_write_cr3: ["mov cr3, rdi", ret()],
  native_read_cr0: ["mov rax, cr0", ret()],
  native_wbinvd: ["wbinvd", ret()],
  _paravirt_ident_64: ["mov rax, rdi", ret()],
  native_io_delay: [mcount(), "out dx, al", ret()],
  __raw_callee_save___native_queued_spin_unlock: ["mov byte [rdi], 0", ret()],
  __raw_callee_save___native_vcpu_is_preempted: ["xor eax, eax", ret()],
};

/** Emits every function that pv_ops names and that is not written elsewhere. */
export function paravirtCode(unit: Unit): void {
  const names = new Set(PV_MEMBERS.map((m) => m.value).filter((name) => name !== ""));
  for (const name of names) {
    if (unit.symbols.has(name) || name === "native_queued_spin_lock_slowpath") continue;
    const noinstr = /irq|halt|cr[23]|save_fl/.test(name);
    fn(unit, name, BODIES[name] ?? [mcount(), ret()], {
      section: noinstr ? NOINSTR : ".text",
      global: !/^pv_native/.test(name),
    });
  }
  fn(unit, "paravirt_BUG", [bug(137)], { section: NOINSTR });
}

/** pv_ops itself, as the image and a machine without a hypervisor's functions have it. */
export function paravirtData(unit: Unit): void {
  unit.words(
    "pv_ops",
    ".data",
    PV_MEMBERS.map((m) => (m.value === "" ? 0n : m.value)),
    32,
  );
  unit.words("pv_info", ".data", [0x33n, "pv_bare_hardware"]);
  unit.object("pv_bare_hardware", ".rodata", new TextEncoder().encode("bare hardware\0"), 1, false);
}
