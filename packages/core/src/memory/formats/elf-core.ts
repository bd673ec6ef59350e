// ELF vmcores: QEMU's dump-guest-memory with and without paging, /proc/vmcore and copies of it (Xen's go to xen-core.ts). Program headers may
// number in the ten thousands (a guest with paging), so they are read into typed arrays, not objects.
import { physicalAddress, virtualAddress } from "../../bytes/brand.ts";
import { type ElfHeader, type ElfNote, readElfHeader } from "../../bytes/elf.ts";
import { FormatError, UnsupportedError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import { scanPhysical } from "../scan.ts";
import type { CpuNote, Dump, PhysicalMemory, VirtualSegment } from "../types.ts";
import { cpuNotes, vmcoreinfoText } from "./cpu-notes.ts";
import { type FileRun, FileRunMemory, PHYSICAL_LIMIT, sharedBytes } from "./file-runs.ts";
import { notesAt } from "./note-list.ts";
import { openXenCore } from "./xen-core.ts";

const ET_NAMES = ["file of no type", "object file", "executable", "shared object", "core"];
const ET_CORE = 4;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PHDR_SIZE = 56;
const BANNER = new TextEncoder().encode("Linux version ");
const NT_AUXV = 6;
const NT_FILE = 0x46494c45;

interface Loads {
  readonly runs: readonly FileRun[];
  /** virtual, physical, memory size: three u64 a PT_LOAD with a virtual address. */
  readonly mapped: BigUint64Array;
  readonly notes: readonly ElfNote[];
  /** All bytes of segments, wherever they belong. */
  readonly parts: readonly { readonly offset: number; readonly length: number }[];
  /** The file ends before what its headers claim, or they contradict each other. */
  readonly wrong: boolean;
}

/**
 * Opens an ELF vmcore. What lies past the end of a truncated file is left out and told in `problems`.
 * @throws FormatError when the ELF is not a core of a machine; TruncatedError when not even the headers are there
 */
export function openElfCore(source: ByteSource): Dump {
  const header = readElfHeader(source);
  if (header.type !== ET_CORE) {
    const what = ET_NAMES[header.type] ?? `file of type ${header.type}`;
    throw new FormatError(`${source.name}: ELF header`, `an ELF ${what}, not a memory dump (ELF core)`);
  }
  // Xen writes sections only; all other cores of machines have program headers.
  if (header.programHeaderCount === 0 && header.sectionHeaderOffset !== 0) return openXenCore(source, header);
  const problems: string[] = [];
  const loads = readLoads(source, header, problems);
  const { notes } = loads;
  const ofProcess = notes.some(({ name, type }) => name === "CORE" && (type === NT_AUXV || type === NT_FILE));
  const vmcoreinfo = vmcoreinfoText(notes);
  if (ofProcess && vmcoreinfo === undefined) {
    const banner = scanPhysical({ physical: new FileRunMemory(source, fileOrder(loads)) }, BANNER, { limit: 1 });
    if (banner.length > 0)
      throw new UnsupportedError(`${source.name}: notes`, "User Mode Linux (a kernel that is a process)");
    throw new FormatError(`${source.name}: notes`, "the core of a process, not of a machine (NT_AUXV or NT_FILE note)");
  }
  if (loads.runs.length === 0) {
    throw new FormatError(`${source.name}: program headers`, "an ELF core without any memory (no PT_LOAD with bytes)");
  }
  return new ElfCore(source, loads, cpuNotes(notes, problems), vmcoreinfo, problems);
}

/** The bytes of a process one behind the other: its addresses are virtual, and its physical ones all 0. */
function fileOrder({ parts }: Loads): FileRun[] {
  return parts.map(({ offset, length }) => ({ physical: offset, offset, length }));
}

class ElfCore implements Dump {
  readonly path: string;
  readonly size: number;
  readonly format: string;
  readonly physical: PhysicalMemory;
  readonly notes: readonly ElfNote[];
  readonly incomplete: boolean;
  private made: readonly VirtualSegment[] | undefined;

  constructor(
    source: ByteSource,
    private readonly loads: Loads,
    readonly cpus: readonly CpuNote[],
    readonly vmcoreinfo: string | undefined,
    readonly problems: readonly string[],
  ) {
    this.path = source.name;
    this.size = source.size;
    // QEMU without paging writes virtual = physical; only real kernel addresses make it a dump with a virtual view.
    this.format = loads.mapped.length > 0 ? "elf-paging" : "elf";
    this.physical = new FileRunMemory(source, loads.runs);
    this.notes = loads.notes;
    this.incomplete = loads.wrong;
  }

  /** Made on first use: 65,000 of them in a dump with paging, and page tables are mostly better. */
  get segments(): readonly VirtualSegment[] {
    this.made ??= joinSegments(this.loads.mapped);
    return this.made;
  }
}

function joinSegments(mapped: BigUint64Array): VirtualSegment[] {
  const out: VirtualSegment[] = [];
  let [virtual, physical, length] = [0n, 0n, 0n];
  const push = () => {
    if (length > 0n) out.push({ virtual: virtualAddress(virtual), physical: physicalAddress(physical), length });
  };
  for (let i = 0; i < mapped.length; i += 3) {
    if (mapped[i] === virtual + length && mapped[i + 1] === physical + length) {
      length += mapped[i + 2];
      continue;
    }
    push();
    [virtual, physical, length] = [mapped[i], mapped[i + 1], mapped[i + 2]];
  }
  push();
  return out;
}

function readLoads(source: ByteSource, header: ElfHeader, problems: string[]): Loads {
  const { programHeaderOffset: tableAt, programHeaderCount: claimed } = header;
  const there = Math.max(0, Math.floor((source.size - tableAt) / PHDR_SIZE));
  const count = Math.min(claimed, there);
  if (count < claimed) {
    problems.push(`${source.name}: program headers: ${claimed} claimed, the file ends after ${count}`);
  }
  if (count === 0) throw new FormatError(`${source.name}: ELF header`, "an ELF core without program headers");
  const bytes = source.read(tableAt, count * PHDR_SIZE).slice();
  const view = new DataView(bytes.buffer);
  const runs: FileRun[] = [];
  const parts: { offset: number; length: number }[] = [];
  const mapped = new BigUint64Array(count * 3);
  const notes: ElfNote[] = [];
  let mappedLength = 0;
  let cutCount = 0;
  let cutBytes = 0;
  let firstCut = "";
  let unplaced = 0;
  for (let i = 0; i < count; i++) {
    const at = i * PHDR_SIZE;
    const type = view.getUint32(at, true);
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const offset = number64(view, at + 8);
    const virtual = view.getBigUint64(at + 16, true);
    const physical = number64(view, at + 24);
    const fileSize = number64(view, at + 32);
    const memorySize = number64(view, at + 40);
    const inFile = Math.max(0, Math.min(fileSize, source.size - offset));
    if (inFile < fileSize) {
      cutCount++;
      cutBytes += fileSize - inFile;
      firstCut ||= `0x${offset.toString(16)} (${fileSize} bytes)`;
    }
    if (type === PT_NOTE) {
      // Notes that claim to lie past the end are told as cut; memory does not depend on them.
      if (inFile > 0) notes.push(...notesAt(source, offset, inFile, problems));
      continue;
    }
    if (inFile > 0) parts.push({ offset, length: inFile });
    if (physical + Math.max(inFile, memorySize) > PHYSICAL_LIMIT) {
      unplaced++; // /proc/kcore gives ~0 for memory without a physical address
    } else {
      const last = runs[runs.length - 1];
      const repeated = last !== undefined && last.physical === physical && last.offset === offset;
      if (inFile > 0 && !(repeated && last.length >= inFile)) runs.push({ physical, offset, length: inFile });
      if (virtual >> 47n === 0x1ffffn || virtual >> 56n === 0xffn) {
        mapped[mappedLength++] = virtual;
        mapped[mappedLength++] = BigInt(physical);
        mapped[mappedLength++] = BigInt(Math.max(fileSize, memorySize));
      }
    }
  }
  if (cutCount > 0) {
    problems.push(
      `${source.name}: the file ends at 0x${source.size.toString(16)}, ${cutBytes} bytes short: ` +
        `${cutCount} of ${count} segments are cut, the first at ${firstCut}`,
    );
  }
  if (unplaced > 0) {
    problems.push(`${source.name}: program headers: ${unplaced} segments have no physical address and are left out`);
  }
  const shared = sharedBytes(runs);
  if (shared !== undefined) {
    const { first, second } = shared;
    const at = (value: number) => `0x${value.toString(16)}`;
    problems.push(
      `${source.name}: program headers: the segments of physical ${at(first.physical)} and ${at(second.physical)} ` +
        `share the bytes of the file at ${at(second.offset)}: one of them holds other memory than it says, and neither is read`,
    );
  }
  const trusted = shared === undefined ? runs : runs.filter((run) => !shared.disputed.has(run));
  const wrong = cutCount > 0 || count < claimed || shared !== undefined;
  return { runs: trusted, mapped: mapped.subarray(0, mappedLength), notes, parts, wrong };
}

/** A u64 as a number, rounded above 2^53: only compared with sizes and limits, which such a value always exceeds. */
function number64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}
