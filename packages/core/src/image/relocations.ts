// The relocation table that a relocatable kernel carries behind its ELF file: arch/x86/tools/relocs.c writes it,
// handle_relocations() of arch/x86/boot/compressed/misc.c applies it at boot. Without it 68,000 to 104,000 places of
// .text would seem to be changed.
import { type ProgramHeader, readProgramHeaders } from "../bytes/elf.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import { type IndexedRange, RangeIndex } from "../bytes/range-index.ts";
import { readInto } from "../bytes/source.ts";
import type { ElfFile, KaslrRelocations } from "./types.ts";
import { relocationsOfVmlinux } from "./vmlinux-rela.ts";

/** __START_KERNEL_map: entries are 32-bit link addresses, sign-extended, so all lie in the top 2 GiB. */
const BASE = 0xffffffff80000000n;
const SHF_ALLOC = 2;
const SHT_NOBITS = 8;
const PT_LOAD = 1;
/** Twenty times what the largest known kernel has (350,000). */
const ENTRIES_MAX = 8_000_000;

/** File offset at which the ELF file ends: its headers and all contents lie before it. */
export function elfEnd(elf: ElfFile, segments: readonly ProgramHeader[]): number {
  const { header, sections } = elf;
  let end = Math.max(
    64,
    header.programHeaderOffset + 56 * header.programHeaderCount,
    header.sectionHeaderOffset + 64 * header.sectionHeaderCount,
  );
  for (const s of sections) if (s.type !== SHT_NOBITS) end = Math.max(end, s.offset + s.size);
  for (const p of segments) end = Math.max(end, p.offset + p.fileSize);
  return end;
}

/** What was found behind an ELF file, or in it. */
export interface FoundRelocations {
  readonly table?: KaslrRelocations;
  /** Why there is none, when there seems to have been one. */
  readonly problem?: string;
}

/**
 * The relocations of a kernel: the table behind its ELF file, else what the linker left in the file. Kernels without
 * CONFIG_RANDOMIZE_BASE and stripped vmlinux files have neither.
 */
export function readRelocations(elf: ElfFile): FoundRelocations {
  const behind = readTable(elf);
  if (behind.table !== undefined) return behind;
  try {
    const table = relocationsOfVmlinux(elf);
    return table === undefined ? behind : { table };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { problem: error.message };
  }
}

/**
 * Reads the table: groups of u32 link addresses, each group opened by a zero word. Three groups are abs64, inverse32,
 * abs32 (since v3.15); two are abs64, abs32 (v3.14, and again where per-CPU addresses are no longer zero-based, as in
 * v7.x). Each entry must lie in memory that the kernel occupies.
 */
function readTable(elf: ElfFile): FoundRelocations {
  const { source } = elf;
  const segments = readProgramHeaders(source, elf.header);
  const end = elfEnd(elf, segments);
  const count = Math.floor((source.size - end) / 4);
  if (count < 1) return {};
  const where = `${source.name}+0x${end.toString(16)}: the relocation table behind the kernel`;
  const wrong = (what: string): FoundRelocations => ({ problem: `${where} ${what}` });
  if (count < 2 || count > ENTRIES_MAX) return wrong(`would have ${count} words`);
  const words = new Int32Array(count);
  readInto(source, end, new Uint8Array(words.buffer));
  if (words[0] !== 0) return wrong("does not begin with a zero word");
  const starts: number[] = [];
  for (let i = words.indexOf(0); i >= 0; i = words.indexOf(0, i + 1)) {
    if (starts.push(i) > 3) return wrong("has more than three groups");
  }
  if (starts.length < 2) return wrong("has one group, not two or three");
  const groups = starts.map((at, i) => words.subarray(at + 1, starts[i + 1] ?? count));
  const [abs64, inverse32, abs32] =
    groups.length === 3 ? (groups as [Int32Array, Int32Array, Int32Array]) : [groups[0]!, new Int32Array(), groups[1]!];
  const ranges = new RangeIndex(occupiedRanges(elf, segments));
  // A sign-extended link address minus BASE is the word plus 2^31, which is the word with its top bit cleared.
  for (let i = 0; i < count; i++) words[i] ^= 0x80000000;
  if (!allInside(abs64, 8, ranges) || !allInside(inverse32, 4, ranges) || !allInside(abs32, 4, ranges))
    return wrong("names places outside the kernel");
  return { table: { abs64, abs32, inverse32, base: BASE } };
}

/** Offsets from BASE. */
type Range = IndexedRange<undefined>;

/**
 * Where allocated sections lie once loaded. The zero-based .data..percpu (up to v6.14) is linked at 0 and loaded
 * at its segment's physical address; the table names the place where it is loaded (per_cpu_load_addr in relocs.c).
 */
function occupiedRanges(elf: ElfFile, segments: readonly ProgramHeader[]): Range[] {
  const ranges: Range[] = [];
  const loads = loadedAtZero(segments);
  for (const section of elf.sections) {
    if ((section.flags & SHF_ALLOC) === 0 || section.size === 0) continue;
    let offset = section.address - BASE;
    if (offset < 0n) {
      const home = loads.find(Number(section.address), section.size)?.value;
      if (home === undefined) continue;
      offset = home.physicalAddress + (section.address - home.virtualAddress);
    }
    if (offset < 0x80000000n) ranges.push({ start: Number(offset), length: section.size, value: undefined });
  }
  return ranges;
}

/** The segments of what is linked below the kernel's own addresses. */
function loadedAtZero(segments: readonly ProgramHeader[]): RangeIndex<ProgramHeader> {
  const low = segments.filter((p) => p.type === PT_LOAD && p.virtualAddress + p.memorySize < 1n << 52n);
  return new RangeIndex(low.map((p) => ({ start: Number(p.virtualAddress), length: Number(p.memorySize), value: p })));
}

function allInside(entries: Int32Array, width: number, ranges: RangeIndex<undefined>): boolean {
  let start = 0;
  let last = -1;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i];
    // Entries are nearly sorted, so the last range is nearly always right.
    if (entry >= start && entry <= last) continue;
    const range = ranges.find(entry, width);
    if (range === undefined) return false;
    start = range.start;
    last = range.start + range.length - width;
  }
  return true;
}
