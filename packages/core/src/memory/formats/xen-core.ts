// Xen's `xl dump-core`: an ELF core with sections in place of program headers (Xen, docs/misc/dump-core-format.txt). The
// pages lie in one section, the list of their frame numbers in another.
import { Cursor } from "../../bytes/cursor.ts";
import { type ElfHeader, type ElfNote, type ElfSection, readSections } from "../../bytes/elf.ts";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import type { ByteSource } from "../../bytes/source.ts";
import { type CpuNote, type Dump, PAGE_SIZE } from "../types.ts";
import { type FileRun, FileRunMemory, PHYSICAL_LIMIT } from "./file-runs.ts";
import { notesAt } from "./note-list.ts";
import { parseVcpu, VCPU_CONTEXT_SIZE } from "./xen-vcpu.ts";

const NOTE_HEADER = 0x2000001;
const NOTE_XEN_VERSION = 0x2000002;
const MAGIC_PV = 0xf00febedn;
const MAGIC_HVM = 0xf00febeen;
const LIST_BLOCK = 1 << 16;
/** Xen's own bound for a PV guest is 8,192 vCPUs (XEN_LEGACY_MAX_VCPUS and gnttab limits are lower). */
const VCPU_LIMIT = 8192;

interface XenHeader {
  readonly paravirtual: boolean;
  readonly vcpus: number;
}

/**
 * Opens a Xen core. Addresses are guest-physical for an HVM or PVH guest; for a PV guest they are the machine's, since
 * those are what cr3 and its page tables hold (format "xen-core-p2m").
 * @throws FormatError when it has not Xen's sections, TruncatedError when one is cut: the frame list is at the end
 */
export function openXenCore(source: ByteSource, header: ElfHeader): Dump {
  const sections = new Map(sectionsOf(source, header).map((section) => [section.name, section]));
  const pages = sections.get(".xen_pages");
  const noteSection = sections.get(".note.Xen");
  if (pages === undefined || noteSection === undefined) {
    throw new FormatError(
      `${source.name}: ELF header`,
      "an ELF core without program headers and without Xen's sections",
    );
  }
  for (const section of sections.values()) checkInside(source, section);
  const problems: string[] = [];
  const notes = notesAt(source, noteSection.offset, noteSection.size, problems);
  const { paravirtual, vcpus } = readXenHeader(source, notes);
  const listName = paravirtual ? ".xen_p2m" : ".xen_pfn";
  const list = sections.get(listName);
  if (list === undefined) throw new FormatError(`${source.name}: section headers`, `no section ${listName}`);
  const physical = new FileRunMemory(source, readRuns(source, pages, list, paravirtual, problems));
  const incomplete = problems.length > 0;
  const state = sections.get(".xen_prstatus");
  return {
    path: source.name,
    format: paravirtual ? "xen-core-p2m" : "xen-core",
    size: source.size,
    physical,
    cpus: state === undefined ? [] : readVcpus(source, state, vcpus, paravirtual, problems),
    notes,
    segments: [],
    header: { xenGuest: paravirtual ? "PV" : "HVM", ...xenVersion(notes) },
    incomplete,
    problems,
  };
}

function sectionsOf(source: ByteSource, header: ElfHeader): ElfSection[] {
  try {
    return readSections(source, header);
  } catch (error) {
    if (!(error instanceof TruncatedError)) throw error;
    // The list of frames and the names lie behind the pages: without them no page has an address.
    const where = `${source.name}: section names of a core that ends at 0x${source.size.toString(16)}`;
    throw new TruncatedError(where, error.wanted, error.available);
  }
}

function checkInside(source: ByteSource, section: ElfSection): void {
  if (section.offset + section.size > source.size) {
    const where = `${source.name}: ${section.name || `section ${section.index}`}`;
    throw new TruncatedError(
      `${where} at 0x${section.offset.toString(16)}`,
      section.size,
      source.size - section.offset,
    );
  }
}

function readXenHeader(source: ByteSource, notes: readonly ElfNote[]): XenHeader {
  const note = notes.find(({ name, type }) => name === "Xen" && type === NOTE_HEADER);
  if (note === undefined) throw new FormatError(`${source.name}: .note.Xen`, "no header note");
  const c = new Cursor(note.desc, note.where);
  const magic = c.u64();
  if (magic !== MAGIC_PV && magic !== MAGIC_HVM) throw c.error(`magic 0x${magic.toString(16)}`, 0);
  const vcpus = c.size64();
  c.skip(8);
  const pageSize = c.u64();
  if (pageSize !== BigInt(PAGE_SIZE)) throw new UnsupportedError(c.where(24), `a page size of ${pageSize} bytes`);
  return { paravirtual: magic === MAGIC_PV, vcpus };
}

/** Entry i of the list names the frame of page i: u64 pfn, or {u64 pfn, gmfn}; all ones: no page. */
function readRuns(
  source: ByteSource,
  pages: ElfSection,
  list: ElfSection,
  paravirtual: boolean,
  problems: string[],
): FileRun[] {
  const entrySize = paravirtual ? 16 : 8;
  const listed = Math.floor(list.size / entrySize);
  const held = Math.floor(pages.size / PAGE_SIZE);
  if (listed !== held) problems.push(`${source.name}: ${list.name}: ${listed} frames for ${held} pages`);
  const count = Math.min(listed, held);
  const runs: FileRun[] = [];
  let physical = -1;
  let offset = 0;
  let length = 0;
  let impossible = 0;
  for (let first = 0; first < count; first += LIST_BLOCK) {
    const here = Math.min(LIST_BLOCK, count - first);
    const bytes = source.read(list.offset + first * entrySize, here * entrySize);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < here; i++) {
      // The second of a pair is the machine frame.
      const at = (i + 1) * entrySize - 8;
      const low = view.getUint32(at, true);
      const high = view.getUint32(at + 4, true);
      if (high === 0xffffffff && low === 0xffffffff) continue;
      const address = (high * 2 ** 32 + low) * PAGE_SIZE;
      if (address >= PHYSICAL_LIMIT) {
        impossible++;
        continue;
      }
      const from = pages.offset + (first + i) * PAGE_SIZE;
      if (address === physical + length && from === offset + length) {
        length += PAGE_SIZE;
      } else {
        if (length > 0) runs.push({ physical, offset, length });
        physical = address;
        offset = from;
        length = PAGE_SIZE;
      }
    }
  }
  if (length > 0) runs.push({ physical, offset, length });
  if (impossible > 0) problems.push(`${source.name}: ${list.name}: ${impossible} frame numbers above 52 address bits`);
  if (runs.length === 0) throw new FormatError(`${source.name}: ${list.name}`, "no page has a frame number");
  return runs;
}

function readVcpus(
  source: ByteSource,
  section: ElfSection,
  claimed: number,
  paravirtual: boolean,
  problems: string[],
): CpuNote[] {
  const part = `${source.name}: ${section.name}`;
  if (section.entrySize !== 0 && section.entrySize !== VCPU_CONTEXT_SIZE) {
    problems.push(`${part}: entries of ${section.entrySize} bytes, not ${VCPU_CONTEXT_SIZE}: no registers`);
    return [];
  }
  const held = Math.floor(section.size / VCPU_CONTEXT_SIZE);
  if (held !== claimed) problems.push(`${part}: registers of ${held} vCPUs, the header note says ${claimed}`);
  const cpus: CpuNote[] = [];
  for (let i = 0; i < Math.min(held, VCPU_LIMIT); i++) {
    const offset = section.offset + i * VCPU_CONTEXT_SIZE;
    const context = source.read(offset, VCPU_CONTEXT_SIZE);
    const { cpu, online } = parseVcpu(context, `${part}: vCPU ${i}`, i, paravirtual);
    if (!online) problems.push(`${part}: vCPU ${i} was down; its registers are old`);
    cpus.push(cpu);
  }
  return cpus;
}

/** Version and capabilities of the hypervisor, out of its note; empty when there is none. */
function xenVersion(notes: readonly ElfNote[]): Record<string, string> {
  const note = notes.find(({ name, type }) => name === "Xen" && type === NOTE_XEN_VERSION);
  // u64 major, minor; char extra[16]; compile_info {64 + 16 + 32 + 32}; char capabilities[1024]
  if (note === undefined || note.desc.length < 32 + 144 + 1024) return {};
  const c = new Cursor(note.desc, note.where);
  const version = `${c.u64()}.${c.u64()}${c.text(16)}`;
  return { xenVersion: version, xenCapabilities: c.skip(144).text(1024).trim() };
}
