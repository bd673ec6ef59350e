// Where a dump's own registers say that page tables start. kernel/ believes VMCOREINFO's symbols first; these are for
// dumps without it, and each candidate must still be proved by what it maps.
import { type PhysicalAddress, physicalAddress } from "../../bytes/brand.ts";
import type { CpuNote, Dump } from "../types.ts";

export interface PageTableRoot {
  readonly root: PhysicalAddress;
  readonly levels: 4 | 5;
  /** "cr3 of CPU 2 (QEMU)", "… kernel half": for messages. */
  readonly from: string;
}

const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const CR3_ADDRESS = 0x000f_ffff_ffff_f000n;
/** PTI_USER_PGTABLE_BIT is PAGE_SHIFT: the user's half lies in the page after the kernel's (arch/x86/mm/pti.c, v4.15). */
const PTI_USER_HALF = 0x1000n;

/**
 * Candidate root tables, most believable first: CPUs in kernel mode before CPUs in user mode; of a cr3 with bit 12 set
 * both the table itself and the page before it, which is the kernel's half under page table isolation (first when the CPU
 * was in user mode). Empty when no CPU note has a cr3. Levels follow cr4.LA57; without a cr4, 4 and then 5.
 */
export function pageTableRoots(dump: Dump): PageTableRoot[] {
  // A Xen PV kernel runs in ring 3, has its own tables in cr3 at all times and no page table isolation.
  const paravirtual = dump.format.startsWith("xen-core-p2m");
  const inUser = (cpu: CpuNote) => !paravirtual && (cpu.registers.cs & 3) === 3;
  const ordered = [...dump.cpus.filter((cpu) => !inUser(cpu)), ...dump.cpus.filter(inUser)];
  const first: PageTableRoot[] = [];
  const second: PageTableRoot[] = [];
  for (const cpu of ordered) {
    const { cr0, cr3, cr4 } = cpu.registers;
    if (cr3 === undefined || (cr3 & CR3_ADDRESS) === 0n) continue;
    // A CPU that never started has no tables.
    if (!paravirtual && ((cr0 !== undefined && (cr0 & CR0_PG) === 0n) || (cr4 !== undefined && (cr4 & CR4_PAE) === 0n)))
      continue;
    const levels: readonly (4 | 5)[] = cr4 === undefined ? [4, 5] : (cr4 & CR4_LA57) !== 0n ? [5] : [4];
    const from = `cr3 of CPU ${cpu.index} (${cpu.source})`;
    const table = cr3 & CR3_ADDRESS;
    for (const level of levels) {
      const self = { root: physicalAddress(table), levels: level, from };
      if (paravirtual || (table & PTI_USER_HALF) === 0n) {
        first.push(self);
        continue;
      }
      const half = { root: physicalAddress(table & ~PTI_USER_HALF), levels: level, from: `${from}, kernel half` };
      first.push(inUser(cpu) ? half : self);
      second.push(inUser(cpu) ? self : half);
    }
  }
  const seen = new Set<string>();
  return [...first, ...second].filter(({ root, levels }) => {
    const key = `${root}/${levels}`;
    return !seen.has(key) && seen.add(key);
  });
}
