// Writes RAM as an ELF vmcore: one PT_NOTE and a PT_LOAD for each run of pages that is there, physical addresses as
// QEMU's dump-guest-memory (without paging) gives them.
import type { Ram } from "../machine/physical.ts";
import { type CpuState, prstatus, qemuState, vmcoreinfoNote } from "./core-notes.ts";
import { type ElfSegmentInput, writeElf } from "./elf-writer.ts";

const PAGE = 4096;

/** All notes of a dump in QEMU's order. @param vmcoreinfo undefined for a kernel that told QEMU none */
export function dumpNotes(cpus: readonly CpuState[], vmcoreinfo: string | undefined): Uint8Array {
  const parts = [...cpus.map((c, i) => prstatus(c, i)), ...cpus.map((c) => qemuState(c))];
  if (vmcoreinfo !== undefined) parts.push(vmcoreinfoNote(vmcoreinfo));
  return Uint8Array.from(parts.flatMap((p) => [...p]));
}

/**
 * @param virtual the virtual address that the dump's maker states for a page, as /proc/vmcore does; QEMU states 0
 */
export function writeVmcore(ram: Ram, notes: Uint8Array, virtual: (physical: bigint) => bigint = () => 0n): Uint8Array {
  const runs = ram.runs();
  const head = 64 + 56 * (runs.length + 1);
  const segments: ElfSegmentInput[] = [
    { type: 4, flags: 0, offset: head, virtual: 0n, physical: 0n, fileSize: notes.length },
  ];
  let offset = head + notes.length;
  for (const [pfn, count] of runs) {
    const physical = BigInt(pfn) * BigInt(PAGE);
    segments.push({ type: 1, flags: 0, offset, virtual: virtual(physical), physical, fileSize: count * PAGE });
    offset += count * PAGE;
  }
  const out = new Uint8Array(offset);
  out.set(writeElf({ type: 4, segments }));
  out.set(notes, head);
  runs.forEach(([pfn, count], r) => {
    const at = segments[r + 1].offset;
    for (let i = 0; i < count; i++) out.set(ram.page(pfn + i), at + i * PAGE);
  });
  return out;
}
