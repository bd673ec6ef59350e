// The built layer of one object (the core or a module) of this boot: its sections after relocation, at the
// addresses that they have in the dump. Everything is counted from KERNEL_MAP_BASE (KernelOffset), since
// tables of hundreds of thousands of sites are walked over it.
import type { KernelOffset } from "../bytes/brand.ts";

export interface BuiltSection {
  readonly name: string;
  /** Where it lies in the dump's memory; for a part that was freed or never kept, an address of its own choosing. */
  readonly start: KernelOffset;
  /** Relocated bytes. Lent: whoever patches copies first. */
  readonly bytes: Uint8Array;
  /** Instructions (SHF_EXECINSTR). */
  readonly executable: boolean;
  /** False when memory no longer holds it (init memory freed after boot). */
  readonly kept: boolean;
}

/** A piece of a section of the object file. */
export interface FileBytes {
  /** ".text" */
  readonly section: string;
  /** bytes from the section's start */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface UnknownPlace {
  readonly offset: KernelOffset;
  readonly length: number;
  readonly symbol: string;
}

export interface BuiltObject {
  /** "vmlinux" or the module's name. */
  readonly name: string;
  /** Path of the image file. */
  readonly path: string;
  /** True when there is no image: only the bytes of sites that the dump itself tells can be checked. */
  readonly partial?: boolean;
  /** Names of all loaded sections. */
  sectionNames(): readonly string[];
  /** A section by its name, relocated on first use. */
  section(name: string): BuiltSection | undefined;
  /** The bytes between two symbols of the image, e.g. __start___jump_table and __stop___jump_table; core only. */
  between(start: string, stop: string): BuiltSection | undefined;
  /** Executable sections that memory still holds, ascending. */
  readonly text: readonly BuiltSection[];
  /** Executable sections that were freed: name and size. */
  readonly freed: readonly { readonly name: string; readonly size: number }[];
  /** Places whose relocation needs a symbol that nothing in the dump defines: their built bytes are not known; modules only. */
  readonly unknownPlaces?: readonly UnknownPlace[];
  /** The section that covers the offset, relocated. */
  at(offset: KernelOffset): BuiltSection | undefined;
  /** The bytes of a place as the object file has them before relocation, for `site`; modules only. */
  inFile?(offset: KernelOffset, length: number): FileBytes | undefined;
  /** The relocation that the build recorded at a place, for `site`: "R_X86_64_32S pv_lock_ops+0x28"; modules only. */
  relocationAt?(
    offset: KernelOffset,
  ): { readonly type: string; readonly symbol: string; readonly addend: number } | undefined;
}
