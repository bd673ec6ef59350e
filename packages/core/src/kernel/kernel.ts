// Who this kernel is: everything that the other rooms ask of the dump, gathered once.
import type { VirtualAddress } from "../bytes/brand.ts";
import type { Dump, VirtualMemory } from "../memory/types.ts";
import type { SymbolTable, TypeTable } from "../symbols/types.ts";
import type { CpuFeatures } from "./cpu-features.ts";
import type { Structures } from "./layouts/structures.ts";
import type { KernelModule } from "./modules/modules.ts";
import type { Vmcoreinfo } from "./vmcoreinfo.ts";

export interface Kernel {
  /** Its `cpus` are given to the CPUs that they are of; notes of none that can be told are left out. */
  readonly dump: Dump;
  readonly memory: VirtualMemory;
  readonly vmcoreinfo: Vmcoreinfo | undefined;
  /** How the page tables were found. */
  readonly addressSpace: string;
  /** uname -r */
  readonly release: string;
  /** linux_banner */
  readonly version: string;
  /** GNU build-id, hex */
  readonly buildId: string | undefined;
  /** kallsyms of the core. */
  readonly symbols: SymbolTable;
  /** Set when most of the kernel's variables have no name here: why. What follows from them cannot be judged. */
  readonly lackingSymbols?: string;
  /** Layouts: BTF, DWARF or a known shape. */
  readonly types: TypeTable;
  readonly structures: Structures;
  readonly modules: readonly KernelModule[];
  /** Core and modules. Built on first use. */
  readonly allSymbols: SymbolTable;
  readonly features: CpuFeatures;
  /** Bytes from the link-time to the run-time address, where the dump itself tells it (VMCOREINFO). */
  readonly kaslrOffset: bigint | undefined;
  /** True when init memory was given back (system_state beyond boot). */
  readonly initFreed: boolean;
  /** How layouts that no type table told were discovered. */
  readonly evidence?: readonly string[];
  /** What was read once, by kept.ts alone. */
  readonly kept?: ReadonlyMap<unknown, unknown>;
  /** What could not be read, in plain words. */
  readonly problems: readonly string[];
  /** Those of them that leave a part of the kernel unseen: with one of these no account is complete. */
  readonly unseen?: readonly string[];
  /** Address of a core symbol. @throws MissingError */
  address(symbol: string): VirtualAddress;
  /** Address of a core symbol, or undefined. */
  find(symbol: string): VirtualAddress | undefined;
}
