// Puts a linked core into RAM and builds the page tables over it: the kernel mapping, the direct map, and the tables
// below which the module area hangs.
import type { LinkedCore } from "../object/link-core.ts";
import type { CTypes } from "../types/c-types.ts";
import { AddressSpace } from "./address-space.ts";
import { MemoryImage, type Regions } from "./memory-image.ts";
import { PAGE, type Ram } from "./physical.ts";

const HUGE = 2 << 20;
const GIB = 1 << 30;
const START_KERNEL_MAP = 0xffffffff80000000n;

export interface Placement {
  /** physical address of _text */
  readonly physical: number;
  readonly regions: Regions;
  /** symbol of the top page table: init_top_pgt, init_level4_pgt */
  readonly top: string;
  /** tables that lie in the kernel's data: [symbol, address that they cover, level below the top] */
  readonly tables: readonly (readonly [string, bigint, 1 | 2])[];
}

/** The kernel mapping's tables, as arch/x86/kernel/head_64.S names them since 2.6. */
export const KERNEL_TABLES: Placement["tables"] = [
  ["level3_kernel_pgt", START_KERNEL_MAP, 1],
  ["level2_kernel_pgt", START_KERNEL_MAP, 2],
];

export function loadCore(ram: Ram, core: LinkedCore, types: CTypes, placement: Placement): MemoryImage {
  const text = core.section(".text");
  const base = text.address;
  const physical = (address: bigint) => placement.physical + Number(address - base);
  for (const s of core.sections) {
    ram.write(physical(s.loadAddress), s.bytes);
    for (let at = 0; at < s.size; at += PAGE) ram.page(Math.floor((physical(s.loadAddress) + at) / PAGE));
  }
  const space = new AddressSpace(ram, physical(core.address(placement.top)));
  for (const [symbol, address, level] of placement.tables) space.adopt(address, level, physical(core.address(symbol)));
  const data = core.section(".data").address;
  const readOnly = core.section(".rodata").address;
  const huge = (bytes: number) => Math.ceil(bytes / HUGE) * HUGE;
  space.map(base, physical(base), huge(text.size), 0x200000, { executable: true });
  space.map(readOnly, physical(readOnly), Number(data - readOnly), 0x200000);
  // Freed init memory in the middle split the mapping of the data into small pages.
  const end = Math.ceil(Number(core.address("_end") - data) / PAGE) * PAGE;
  space.map(data, physical(data), end, 4096, { writable: true });
  space.map(placement.regions.direct, 0, GIB, 0x200000, { writable: true });
  space.map(placement.regions.direct + BigInt(GIB), GIB, GIB, 0x40000000, { writable: true });
  return new MemoryImage(space, types, placement.regions);
}

/** A process's top page table: the kernel half is shared. @returns its physical address */
export function processRoot(memory: MemoryImage): number {
  const root = memory.ram.allocate();
  memory.ram.write(root + 2048, memory.ram.read(memory.space.root + 2048, 2048));
  return root;
}
