// Finds the kernel's page tables and its image in memory. VMCOREINFO tells both; without it the CPUs' own CR3 is
// tried, and what a candidate maps at __START_KERNEL_map decides whether it is believed.
import { addressAdd, KERNEL_MAP_BASE, physicalAddress, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { MissingError, UnsupportedError } from "../bytes/errors.ts";
import { pageTableRoots } from "../memory/paging/page-table-roots.ts";
import { searchPageTables } from "../memory/paging/page-table-search.ts";
import { PageTableMemory } from "../memory/paging/page-tables.ts";
import type { Dump, VirtualMemory } from "../memory/types.ts";
import { otherMachine } from "./other-machine.ts";
import { parseVmcoreinfo, type Vmcoreinfo } from "./vmcoreinfo.ts";
import { vmcoreinfoInMemory } from "./vmcoreinfo-search.ts";

/** The kernel image's area of the address space: 1 GiB with KASLR, 512 MiB without (KERNEL_IMAGE_SIZE). */
const IMAGE_AREA = 1 << 30;
const LARGE_PAGE = 2 << 20;
/** What is taken for the kernel's image when no table tells its end; no kernel is larger. */
const LINEAR_IMAGE = 256 << 20;
/** Of the direct mapping at most (Documentation/arch/x86/x86_64/mm.rst). */
const DIRECT_LENGTH = 1n << 46n;

export interface AddressSpace {
  readonly memory: VirtualMemory;
  /** "VMCOREINFO", "CR3 of CPU 0", …: shown by `info`. */
  readonly evidence: string;
  /** The mapped run that holds the kernel image: first mapped address and bytes. */
  readonly image: { readonly start: VirtualAddress; readonly length: number };
  /** Without page tables: what is missing, and the same memory with the direct mapping of all memory at `base` as well. */
  readonly linear?: { readonly missing: string; withDirect(base: bigint): VirtualMemory };
}

/**
 * The longest run of mappings in the image area, read at 2 MiB steps: the kernel image is mapped in one piece.
 * Returns undefined when nothing of a kernel's size is mapped there.
 */
export function findImageRun(memory: VirtualMemory): { start: VirtualAddress; length: number } | undefined {
  let best: { start: number; length: number } | undefined;
  let start = -1;
  for (let at = 0; at <= IMAGE_AREA; at += LARGE_PAGE) {
    const mapped = at < IMAGE_AREA && memory.tryTranslate(addressAdd(KERNEL_MAP_BASE, at)) !== undefined;
    if (mapped && start < 0) start = at;
    if (!mapped && start >= 0) {
      if (best === undefined || at - start > best.length) best = { start, length: at - start };
      start = -1;
    }
  }
  return best && { start: addressAdd(KERNEL_MAP_BASE, best.start), length: best.length };
}

/** Where VMCOREINFO says that the kernel's own top table lies: `init_top_pgt` (before 4.13 `swapper_pg_dir`). */
function toldRoot(vmcoreinfo: Vmcoreinfo | undefined): { top: VirtualAddress; physical: bigint } | undefined {
  const top = vmcoreinfo?.symbol("init_top_pgt") ?? vmcoreinfo?.symbol("swapper_pg_dir");
  const physBase = vmcoreinfo?.number("phys_base");
  return top === undefined || physBase === undefined ? undefined : { top, physical: top - KERNEL_MAP_BASE + physBase };
}

/** Whether tables map the kernel's top table to where VMCOREINFO has it; undefined when VMCOREINFO does not say. */
function agrees(memory: VirtualMemory, vmcoreinfo: Vmcoreinfo | undefined): boolean | undefined {
  const told = toldRoot(vmcoreinfo);
  return told && memory.tryTranslate(told.top)?.physical === told.physical;
}

function byVmcoreinfo(dump: Dump, vmcoreinfo: Vmcoreinfo | undefined): AddressSpace | undefined {
  const told = toldRoot(vmcoreinfo);
  if (told === undefined || told.physical < 0n) return undefined;
  const levels = vmcoreinfo?.number("pgtable_l5_enabled") === 1n ? 5 : 4;
  const memory = new PageTableMemory(dump.physical, physicalAddress(told.physical), levels, dump.segments);
  const image = findImageRun(memory);
  return image && { memory, evidence: "VMCOREINFO (init_top_pgt, phys_base)", image };
}

/** The address space that the CPUs' registers or the dump's own segments tell, the first that maps a kernel. */
function byRegisters(dump: Dump): AddressSpace | undefined {
  for (const candidate of pageTableRoots(dump)) {
    const memory = new PageTableMemory(dump.physical, candidate.root, candidate.levels, dump.segments);
    const image = findImageRun(memory);
    if (image) return { memory, evidence: candidate.from, image };
  }
  if (dump.segments.length > 0) {
    // elf-paging dumps and /proc/kcore map the kernel themselves; a root that maps nothing leaves them the answer.
    const memory = new PageTableMemory(dump.physical, physicalAddress(0n), 4, dump.segments);
    const image = findImageRun(memory);
    if (image) return { memory, evidence: "the dump's own virtual segments", image };
  }
  return undefined;
}

/**
 * The page tables of a dump whose notes lead to none, by their shape. A table inside the image that it maps is the
 * kernel's own (init_top_pgt); tables of processes serve when that one is not in the dump.
 */
function searchAddressSpace(dump: Dump): AddressSpace | undefined {
  let best: AddressSpace | undefined;
  for (const { root, levels, from } of searchPageTables(dump.physical)) {
    const memory = new PageTableMemory(dump.physical, root, levels, dump.segments);
    const image = findImageRun(memory);
    if (image === undefined) continue;
    const first = memory.translate(image.start).physical;
    if (root >= first && root < first + BigInt(image.length)) return { memory, evidence: from, image };
    if (best === undefined || image.length > best.image.length) best = { memory, evidence: from, image };
  }
  return best;
}

/** Address space and VMCOREINFO of a dump. */
export interface Located {
  readonly space: AddressSpace;
  /** Undefined when there is none, or when it is of another boot. */
  readonly vmcoreinfo: Vmcoreinfo | undefined;
}

/**
 * By the dump's notes, else by what its memory holds: the kernel's own VMCOREINFO page, which is there whether or not
 * anybody wrote a note of it, else page tables by their shape (LiME, AVML, raw memory). A VMCOREINFO is believed when the
 * tables that it leads to map themselves where it says; one that other tables contradict is told, and not used.
 * @throws MissingError when no page table in the dump maps a kernel
 */
export function locateKernel(dump: Dump, problems: string[] = []): Located {
  const vmcoreinfo = dump.vmcoreinfo === undefined ? undefined : parseVmcoreinfo(dump.vmcoreinfo);
  const noted = byVmcoreinfo(dump, vmcoreinfo);
  if (noted !== undefined && agrees(noted.memory, vmcoreinfo)) return { space: noted, vmcoreinfo };
  const registered = byRegisters(dump);
  if (registered !== undefined && agrees(registered.memory, vmcoreinfo) !== false)
    return { space: registered, vmcoreinfo };
  for (const { text, at } of vmcoreinfoInMemory(dump)) {
    const found = parseVmcoreinfo(text);
    const space = byVmcoreinfo(dump, found) ?? registered;
    if (space === undefined || agrees(space.memory, found) === false) continue;
    if (vmcoreinfo !== undefined) tellOtherBoot(vmcoreinfo, space, problems);
    const evidence = `${space.evidence}, a text at physical 0x${at.toString(16)}`;
    return { space: { ...space, evidence }, vmcoreinfo: found };
  }
  const space = registered ?? searchAddressSpace(dump);
  if (space !== undefined && agrees(space.memory, vmcoreinfo) === false) {
    // Tables that map nothing where a kernel's own would be contradict nobody.
    const told = toldRoot(vmcoreinfo);
    const mapped = told && space.memory.tryTranslate(told.top);
    if (vmcoreinfo !== undefined && (mapped !== undefined || noted === undefined)) {
      tellOtherBoot(vmcoreinfo, space, problems);
      return { space, vmcoreinfo: undefined };
    }
    return { space: noted ?? space, vmcoreinfo };
  }
  const last = space ?? noted ?? linearSpace(dump, vmcoreinfo);
  if (last !== undefined) return { space: last, vmcoreinfo };
  const other = otherMachine(dump);
  if (other !== undefined) throw new UnsupportedError(dump.path, `a dump of ${other}`);
  throw new MissingError(
    "a page table that maps a Linux x86-64 kernel",
    "the dump has neither a usable VMCOREINFO nor CPU registers whose CR3 leads to one, and a search found none",
  );
}

/** The kernel's image is mapped in one piece: phys_base away from where it lies (arch/x86/kernel/head64.c). */
function linearSpace(dump: Dump, vmcoreinfo: Vmcoreinfo | undefined): AddressSpace | undefined {
  const told = toldRoot(vmcoreinfo);
  const text = vmcoreinfo?.symbol("_stext");
  if (told === undefined || text === undefined || text < KERNEL_MAP_BASE) return undefined;
  const start = virtualAddress(text - (text % BigInt(LARGE_PAGE)));
  const physical = start - told.top + told.physical;
  if (physical < 0n || told.physical < 0n) return undefined;
  const image = { virtual: start, physical: physicalAddress(physical), length: BigInt(LINEAR_IMAGE) };
  const root = physicalAddress(told.physical);
  const levels = vmcoreinfo?.number("pgtable_l5_enabled") === 1n ? 5 : 4;
  const memory = new PageTableMemory(dump.physical, root, levels, [image]);
  if (memory.tryRead(text, 16) === undefined) return undefined;
  return {
    memory,
    evidence: "phys_base in VMCOREINFO, without page tables",
    image: { start, length: LINEAR_IMAGE },
    linear: {
      missing:
        `the kernel's top page table (init_top_pgt, physical 0x${root.toString(16)}) is not in the dump, and no other leads ` +
        "to a kernel: its image and memory that is mapped one to one are read by phys_base; modules and stacks that lie in " +
        "vmalloc space are not seen",
      withDirect: (base) => {
        const all = { virtual: virtualAddress(base), physical: physicalAddress(0n), length: DIRECT_LENGTH };
        return new PageTableMemory(dump.physical, root, levels, [image, all]);
      },
    },
  };
}

function tellOtherBoot(vmcoreinfo: Vmcoreinfo, { memory, evidence }: AddressSpace, problems: string[]): void {
  const told = toldRoot(vmcoreinfo);
  if (told === undefined) return;
  const mapped = memory.tryTranslate(told.top)?.physical;
  const found = mapped === undefined ? "nothing" : `physical 0x${mapped.toString(16)}`;
  problems.push(
    `the dump's VMCOREINFO is of another boot: it has the kernel's page tables (0x${told.top.toString(16)}) at physical ` +
      `0x${told.physical.toString(16)}, the dump's memory has ${found} there; it is not used (found by ${evidence})`,
  );
}

/** True for addresses in the upper, kernel half. */
export function isKernelAddress(address: bigint): boolean {
  return virtualAddress(address) >= 0xff00000000000000n;
}
