// The notes of a dump: NT_PRSTATUS and QEMU's own CPU state, one each per CPU, and VMCOREINFO.
import { ByteWriter } from "../bytes.ts";
import { elfNote } from "./notes.ts";

/** One CPU's state. Registers that are left out are 0. */
export interface CpuState {
  readonly registers: Readonly<Record<string, bigint>>;
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly rbp?: bigint;
  readonly rflags: bigint;
  readonly gsBase: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
}

const PRSTATUS_ORDER = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss".split(
  " ",
);
const QEMU_ORDER = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split(" ");
const KERNEL_CS = 0x10n;
const KERNEL_DS = 0x18n;

function value(cpu: CpuState, name: string): bigint {
  const special: Readonly<Record<string, bigint | undefined>> = {
    rip: cpu.rip,
    rsp: cpu.rsp,
    rbp: cpu.rbp,
    rflags: cpu.rflags,
    cs: KERNEL_CS,
    ss: KERNEL_DS,
    orig_rax: (1n << 64n) - 1n,
  };
  return special[name] ?? cpu.registers[name] ?? 0n;
}

/** struct elf_prstatus of x86-64: 336 bytes, pr_pid at 32, the registers from 112. QEMU puts the CPU number + 1 as pid. */
export function prstatus(cpu: CpuState, index: number): Uint8Array {
  const w = new ByteWriter()
    .zeros(32)
    .u32(index + 1)
    .zeros(112 - 36);
  for (const name of PRSTATUS_ORDER) w.u64(value(cpu, name));
  w.u64(0).u64(cpu.gsBase).u64(0).u64(0).u64(0).u64(0);
  return elfNote("CORE", 1, w.zeros(336 - w.length).take());
}

/** QEMUCPUState version 1 (target/i386/arch_dump.c), 440 bytes. */
export function qemuState(cpu: CpuState): Uint8Array {
  const w = new ByteWriter().u32(1).u32(440);
  for (const name of QEMU_ORDER) w.u64(value(cpu, name));
  const segment = (selector: bigint, base: bigint, limit = 0xffffffff, flags = 0xaf9b00) =>
    w.u32(Number(selector)).u32(limit).u32(flags).u32(0).u64(base);
  segment(KERNEL_CS, 0n);
  segment(0n, 0n, 0, 0);
  segment(0n, 0n, 0, 0);
  segment(0n, 0n, 0, 0);
  segment(0n, cpu.gsBase, 0, 0);
  segment(KERNEL_DS, 0n, 0xffffffff, 0xcf9300);
  for (let i = 0; i < 4; i++) segment(0n, 0n, 0, 0);
  w.u64(0x80050033n).u64(0).u64(0).u64(cpu.cr3).u64(cpu.cr4).u64(0);
  return elfNote("QEMU", 0, w.take());
}

export function vmcoreinfoNote(text: string): Uint8Array {
  return elfNote("VMCOREINFO", 0, new ByteWriter().text(text).take());
}
