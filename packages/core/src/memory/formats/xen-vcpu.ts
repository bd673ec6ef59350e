// Registers of a Xen guest: `struct vcpu_guest_context` for x86-64 (Xen, public/arch-x86/xen.h and xen-x86_64.h; filled
// by arch_get_info_guest). The same 5,168 bytes since Xen 3.0.
import { Cursor } from "../../bytes/cursor.ts";
import type { CpuNote } from "../types.ts";

export const VCPU_CONTEXT_SIZE = 5168;
const FLAGS = 512;
const USER_REGS = 520;
const CTRLREG = 4984;
const BASES = 5144;
const VGCF_IN_KERNEL = 4;
const VGCF_ONLINE = 32;
/** `struct cpu_user_regs`: u64 each; error_code and entry_vector share one, cs shares one with saved_upcall_mask. */
const USER_REGISTERS = [
  ...[
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "error_code",
  ],
  ...["rip", "cs", "rflags", "rsp", "ss", "es", "ds", "fs", "gs"],
];
const SELECTORS = new Set(["cs", "ss", "es", "ds", "fs", "gs"]);

/** Whether the vCPU was up. One that is down has registers, but old ones. */
export interface XenVcpu {
  readonly cpu: CpuNote;
  readonly online: boolean;
}

/**
 * One vCPU.
 * @param context VCPU_CONTEXT_SIZE bytes
 * @param where for messages
 * @param paravirtual a PV guest: its kernel runs in ring 3, and only a flag tells kernel from user mode
 */
export function parseVcpu(context: Uint8Array, where: string, index: number, paravirtual: boolean): XenVcpu {
  const c = new Cursor(context, where);
  const flags = Number(c.seek(FLAGS).u64() & 0xffffffffn);
  c.seek(USER_REGS);
  const general: Record<string, bigint> = {};
  for (const name of USER_REGISTERS) {
    const value = c.u64();
    general[name] = SELECTORS.has(name) ? value & 0xffffn : value;
  }
  delete general.error_code;
  c.seek(CTRLREG);
  const [cr0, , cr2, cr3, cr4] = [c.u64(), c.u64(), c.u64(), c.u64(), c.u64()];
  c.seek(BASES);
  const [fsBase, gsBaseKernel, gsBaseUser] = [c.u64(), c.u64(), c.u64()];
  const inKernel = paravirtual ? (flags & VGCF_IN_KERNEL) !== 0 : (general.cs & 3n) === 0n;
  const { rip, rsp, rbp, rflags, cs } = general;
  const cpu: CpuNote = {
    index,
    registers: {
      ...{ rip, rsp, rbp, rflags, general, cs: Number(cs), fsBase, cr0, cr2, cr3, cr4 },
      gsBase: inKernel ? gsBaseKernel : gsBaseUser,
      kernelGsBase: inKernel ? gsBaseUser : gsBaseKernel,
    },
    source: "xen",
  };
  return { cpu, online: (flags & VGCF_ONLINE) !== 0 };
}
