// CPU registers out of the notes of a vmcore: NT_PRSTATUS, which the crashed kernel itself or a hypervisor wrote, and
// QEMU's own note, which alone has the control registers and the segment bases.
import { Cursor } from "../../bytes/cursor.ts";
import type { ElfNote } from "../../bytes/elf.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { CpuNote, CpuRegisters } from "../types.ts";

const NT_PRSTATUS = 1;

/** Order of `struct user_regs_struct` (arch/x86/include/asm/user_64.h), from pr_reg at 112 in `struct elf_prstatus`. */
const PRSTATUS_REGISTERS = [
  ...["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"],
  ...["orig_rax", "rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"],
];
/** Order of QEMUCPUState (QEMU target/i386/arch_dump.c, version 1). */
const QEMU_REGISTERS = [
  ...["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"],
  ...["rip", "rflags"],
];
const QEMU_SEGMENTS = ["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"];

/**
 * One note of type NT_PRSTATUS (`struct elf_prstatus`, 336 bytes). fs_base and gs_base are left in `general` only: the
 * crashed kernel writes the interrupted task's, not the per-CPU base (elf_core_copy_regs, arch/x86/include/asm/elf.h).
 * @throws TruncatedError when the note is shorter
 */
export function parsePrstatus(note: ElfNote, index: number): CpuNote {
  const c = new Cursor(note.desc, note.where).seek(Math.min(32, note.desc.length));
  const pid = c.u32();
  c.skip(112 - 36);
  const general: Record<string, bigint> = {};
  for (const name of PRSTATUS_REGISTERS) general[name] = c.u64();
  return { index, pid, registers: named(general), source: "NT_PRSTATUS" };
}

/**
 * One note named QEMU: `QEMUCPUState` {u32 version, size; 18 registers; 10 segments {u32 selector, limit, flags, pad; u64
 * base}; cr0 … cr4; u64 kernel_gs_base where `size` has it (QEMU 3.0)}.
 * @throws FormatError for another version, TruncatedError when the note is shorter
 */
export function parseQemuNote(note: ElfNote, index: number): CpuNote {
  const c = new Cursor(note.desc, note.where);
  const version = c.u32();
  if (version !== 1) throw c.error(`QEMUCPUState version ${version}, not 1`, 0);
  const size = c.u32();
  const general: Record<string, bigint> = {};
  for (const name of QEMU_REGISTERS) general[name] = c.u64();
  const bases: Record<string, bigint> = {};
  for (const name of QEMU_SEGMENTS) {
    general[name] = BigInt(c.u32());
    c.skip(12);
    bases[name] = c.u64();
  }
  const [cr0, , cr2, cr3, cr4] = [c.u64(), c.u64(), c.u64(), c.u64(), c.u64()];
  const kernelGsBase = size >= c.offset + 8 && c.remaining >= 8 ? c.u64() : undefined;
  const registers = { ...named(general), fsBase: bases.fs, gsBase: bases.gs, kernelGsBase, cr0, cr2, cr3, cr4 };
  return { index, registers, source: "QEMU" };
}

function named(general: Record<string, bigint>): CpuRegisters {
  const { rip, rsp, rbp, rflags, cs } = general;
  return { rip, rsp, rbp, rflags, general, cs: Number(cs & 0xffffn) };
}

/** A note of `struct elf_prstatus`: the n-th of them has the index n. */
export function isPrstatus({ name, type }: ElfNote): boolean {
  return name === "CORE" && type === NT_PRSTATUS;
}

/**
 * One CpuNote a CPU: QEMU's notes where there are any (its NT_PRSTATUS says the same with less, and its pr_pid is no
 * PID), else NT_PRSTATUS. A note that cannot be read becomes a line in `problems`; the index goes on counting.
 */
export function cpuNotes(notes: readonly ElfNote[], problems: string[]): CpuNote[] {
  const qemu = notes.filter((note) => note.name === "QEMU" && note.type === 0);
  const wanted = qemu.length > 0 ? qemu : notes.filter(isPrstatus);
  const parse = qemu.length > 0 ? parseQemuNote : parsePrstatus;
  const cpus: CpuNote[] = [];
  wanted.forEach((note, index) => {
    try {
      cpus.push(parse(note, index));
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(error.message);
    }
  });
  return cpus;
}

const latin1 = new TextDecoder("latin1");

/** The text of the VMCOREINFO note (Documentation/admin-guide/kdump/vmcoreinfo.rst), without trailing NULs. */
export function vmcoreinfoText(notes: readonly ElfNote[]): string | undefined {
  const note = notes.find(({ name }) => name === "VMCOREINFO");
  return note && trimNul(note.desc);
}

/** Bytes as latin1 text up to the first NUL. */
export function trimNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return latin1.decode(end < 0 ? bytes : bytes.subarray(0, end));
}
