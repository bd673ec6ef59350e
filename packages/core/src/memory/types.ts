// What the room memory/ offers to the rest: one PhysicalMemory a dump format, and the virtual view over it.

import type { PhysicalAddress, VirtualAddress } from "../bytes/brand.ts";
import type { ElfNote } from "../bytes/elf.ts";
import type { AddressError } from "../bytes/errors.ts";

export const PAGE_SIZE = 4096;

/** "elf" | "elf-paging" (virtual PT_LOADs) | "kdump" | "kdump-flattened" | "xen-core" | "xen-core-p2m" | …: shown to users. */
export type DumpFormatName = string;

export interface PhysicalRange {
  readonly start: PhysicalAddress;
  /** bytes */
  readonly length: bigint;
}

export interface PhysicalMemory {
  /** Ranges that the dump says it has, ascending, merged. Pages inside may still be absent (kdump's second bitmap). */
  readonly ranges: readonly PhysicalRange[];
  /** Where bytes really are, for readers of all memory: without what a filter left out. Where it is not known, `ranges`. */
  readonly held?: readonly PhysicalRange[];
  /**
   * One page by page frame number. Lent: do not write, do not keep.
   * @returns undefined when the dump does not hold this page (filtered, never saved, outside memory)
   * @throws FormatError, TruncatedError when the dump claims the page but its bytes are broken
   */
  page(pfn: number): Uint8Array | undefined;
  /**
   * Copies [address, address+into.length) into `into`. Absent pages leave zeros and are reported.
   * @param absent called with each absent run (offset into `into`, bytes)
   */
  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void;
}

/** General registers of one CPU as the dump recorded them. */
export interface CpuRegisters {
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly rbp: bigint;
  readonly rflags: bigint;
  /** rax, rbx, rcx, rdx, rsi, rdi, r8 … r15 and the above, by name. */
  readonly general: Readonly<Record<string, bigint>>;
  readonly cs: number;
  readonly fsBase?: bigint;
  readonly gsBase?: bigint;
  /** MSR_KERNEL_GS_BASE where the dump has it. */
  readonly kernelGsBase?: bigint;
  readonly cr0?: bigint;
  readonly cr2?: bigint;
  readonly cr3?: bigint;
  readonly cr4?: bigint;
}

export interface CpuNote {
  /**
   * Position in the dump's own order (NT_PRSTATUS, QEMU or Xen vCPU index). Of a Kernel's dump it is the number of the CPU,
   * proved by the kernel's memory (kernel/cpus/assign-notes.ts).
   */
  readonly index: number;
  readonly pid?: number;
  readonly registers: CpuRegisters;
  readonly source: "NT_PRSTATUS" | "QEMU" | "xen";
  /** false: the kernel never started this CPU, and its registers are those of a reset. */
  readonly started?: boolean;
}

/** A PT_LOAD's claim that virtual addresses map to physical ones: what elf-paging dumps and /proc/kcore give without page tables. */
export interface VirtualSegment {
  readonly virtual: VirtualAddress;
  readonly physical: PhysicalAddress;
  readonly length: bigint;
}

export interface Dump {
  readonly path: string;
  readonly format: DumpFormatName;
  readonly size: number;
  readonly physical: PhysicalMemory;
  /** Raw VMCOREINFO text, when a note or header has it. */
  readonly vmcoreinfo?: string;
  readonly cpus: readonly CpuNote[];
  readonly notes: readonly ElfNote[];
  readonly segments: readonly VirtualSegment[];
  /** utsname etc. out of a kdump header, where present. */
  readonly header?: Readonly<Record<string, string>>;
  /**
   * True when the file holds less memory than it claims: cut off, its writer ran out of space, a page is broken (known once it
   * was read); `problems` says where.
   */
  readonly incomplete: boolean;
  /** Things about the file that a user should know (truncated tail, broken pages …), in plain words with offsets. May grow. */
  readonly problems: readonly string[];
}

export interface Translation {
  readonly physical: PhysicalAddress;
  /** 4096, 2 MiB or 1 GiB; bytes left in this mapping from the address on are pageSize - offset. */
  readonly pageSize: number;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly user: boolean;
}

export interface VirtualMemory {
  /** Physical address of the top page table in use, and 4 or 5. */
  readonly root: PhysicalAddress;
  readonly levels: 4 | 5;
  /** @throws AddressError naming the level at which the walk ended. */
  translate(address: VirtualAddress): Translation;
  /** Like translate, undefined instead of an AddressError. */
  tryTranslate(address: VirtualAddress): Translation | undefined;
  /** A copy of `length` bytes. @throws AddressError when any byte is unmapped or absent. `length` is bounded at 256 MiB. */
  read(address: VirtualAddress, length: number): Uint8Array;
  tryRead(address: VirtualAddress, length: number): Uint8Array | undefined;
  /** Reads what is there: absent or unmapped runs are zero in `into` and reported, ascending, merged. */
  readPresent(
    address: VirtualAddress,
    into: Uint8Array,
    absent: (offset: number, length: number, why: AddressError | undefined) => void,
  ): void;
  u8(address: VirtualAddress): number;
  u16(address: VirtualAddress): number;
  u32(address: VirtualAddress): number;
  i32(address: VirtualAddress): number;
  u64(address: VirtualAddress): bigint;
  pointer(address: VirtualAddress): VirtualAddress;
  /** NUL-terminated text of at most `max` bytes (latin1); what was read when no NUL comes. */
  cstring(address: VirtualAddress, max?: number): string;
}
