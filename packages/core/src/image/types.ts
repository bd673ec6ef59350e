// What the room image/ offers: the files that were built, unpacked and understood without any dump.
import type { ElfHeader, ElfSection } from "../bytes/elf.ts";
import type { ByteSource } from "../bytes/source.ts";

/** An ELF file with all sections at hand. */
export interface ElfFile {
  readonly source: ByteSource;
  readonly header: ElfHeader;
  readonly sections: readonly ElfSection[];
  section(name: string): ElfSection | undefined;
  /** A section's bytes, lent; an empty array for NOBITS. */
  bytes(section: ElfSection): Uint8Array;
}

/** The kernel's own relocation table behind the ELF of a relocatable kernel (arch/x86/boot/compressed/misc.c). */
export interface KaslrRelocations {
  /** Link-time virtual addresses whose u64 gets +offset. As offsets from `base`. */
  readonly abs64: Int32Array;
  /** … whose u32 gets +offset */
  readonly abs32: Int32Array;
  /** … whose u32 gets -offset (per-CPU relative; none since 6.15) */
  readonly inverse32: Int32Array;
  /** 0xffffffff80000000n: entries are offsets from here */
  readonly base: bigint;
}

export interface KernelImage {
  readonly path: string;
  /** "vmlinux", or "bzImage (xz)" … */
  readonly container: string;
  readonly elf: ElfFile;
  /** undefined for a kernel that was not built relocatable, or a bare vmlinux without the table. */
  readonly relocations?: KaslrRelocations;
  /** Why the relocations that the file seems to have cannot be used: "…: the relocation table behind the kernel …". */
  readonly relocationProblem?: string;
  /** GNU build-id, hex; undefined when the build has none */
  readonly buildId?: string;
  /** "6.1.0-56-amd64", out of linux_banner or the boot header */
  readonly release?: string;
  /** the whole linux_banner, when found */
  readonly version?: string;
}

export interface ModuleImage {
  readonly path: string;
  /** name from .gnu.linkonce.this_module or .modinfo: underscores, not dashes */
  readonly name: string;
  readonly elf: ElfFile;
  readonly buildId?: string;
  readonly vermagic?: string;
}
