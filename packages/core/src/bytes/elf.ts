// ELF64 little-endian structure: headers, program headers, sections, notes. Dumps, vmlinux and .ko files are all
// ELF, so the structure is read here; what the parts mean is said in memory/, symbols/ and image/.
import { Cursor } from "./cursor.ts";
import { FormatError, UnsupportedError } from "./errors.ts";
import type { ByteSource } from "./source.ts";

export interface ElfHeader {
  /** ET_REL 1, ET_EXEC 2, ET_DYN 3, ET_CORE 4. */
  readonly type: number;
  /** EM_X86_64 62. */
  readonly machine: number;
  readonly entry: bigint;
  readonly flags: number;
  readonly programHeaderOffset: number;
  readonly programHeaderCount: number;
  readonly sectionHeaderOffset: number;
  readonly sectionHeaderCount: number;
  readonly sectionNameIndex: number;
}

export interface ProgramHeader {
  /** PT_LOAD 1, PT_NOTE 4. */
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: bigint;
  readonly fileSize: number;
  readonly memorySize: bigint;
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  /** SHT_*: PROGBITS 1, SYMTAB 2, STRTAB 3, RELA 4, NOTE 7, NOBITS 8. */
  readonly type: number;
  /** SHF_*: WRITE 1, ALLOC 2, EXECINSTR 4. */
  readonly flags: number;
  readonly address: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly desc: Uint8Array;
  /** "vmcore: note CORE type 1", for messages. */
  readonly where: string;
}

export const ELF_MAGIC = 0x464c457f;
const EM_X86_64 = 62;
const ET_CORE = 4;
/** EM_*: whose dumps are met beside those of x86-64. */
const MACHINES: Readonly<Record<number, string>> = {
  3: "a 32-bit x86 kernel",
  8: "a MIPS kernel",
  20: "a 32-bit PowerPC kernel",
  21: "a PowerPC kernel",
  22: "an s390 kernel",
  40: "a 32-bit ARM kernel",
  183: "an arm64 kernel",
  243: "a RISC-V kernel",
  258: "a LoongArch kernel",
};

/** True when the source starts with the ELF magic. */
export function isElf(source: ByteSource): boolean {
  return source.size >= 4 && new Cursor(source.read(0, 4), source.name).u32() === ELF_MAGIC;
}

/**
 * Reads the ELF header, extended numbering included (e_phnum 0xffff, e_shnum 0: the true counts lie in section 0).
 * @throws FormatError, TruncatedError, UnsupportedError (not 64-bit little-endian x86-64)
 */
export function readElfHeader(source: ByteSource): ElfHeader {
  const c = new Cursor(source.read(0, Math.min(64, source.size)), `${source.name}: ELF header`);
  if (c.u32() !== ELF_MAGIC) throw c.error("no ELF magic", 0);
  const elfClass = c.u8();
  const data = c.u8();
  c.seek(16);
  const type = c.u16();
  const machine = c.u16();
  // Both numbers stand at the same place in ELF of 32 bits, and turned round in that of the other byte order.
  const told = data === 2 ? ((machine & 0xff) << 8) | (machine >> 8) : machine;
  if (told !== EM_X86_64 || elfClass !== 2 || data !== 1) {
    const kernel = MACHINES[told] ?? `a kernel of machine ${told}`;
    const isCore = (data === 2 ? type >> 8 : type) === ET_CORE;
    const what = told === EM_X86_64 ? "x86-64 code in 32-bit ELF (x32)" : kernel;
    throw new UnsupportedError(c.where(18), isCore ? `a dump of ${what}` : `an ELF file of ${what}`);
  }
  c.skip(4);
  const entry = c.u64();
  const programHeaderOffset = c.size64();
  const sectionHeaderOffset = c.size64();
  const flags = c.u32();
  c.skip(2);
  const phentsize = c.u16();
  let programHeaderCount = c.u16();
  const shentsize = c.u16();
  let sectionHeaderCount = c.u16();
  let sectionNameIndex = c.u16();
  if (programHeaderCount > 0 && phentsize !== 56) throw c.error(`program header size ${phentsize}, not 56`, 54);
  if (sectionHeaderOffset !== 0 && sectionHeaderCount > 0 && shentsize !== 64)
    throw c.error(`section header size ${shentsize}, not 64`, 58);
  if (
    sectionHeaderOffset !== 0 &&
    (sectionHeaderCount === 0 || programHeaderCount === 0xffff || sectionNameIndex === 0xffff)
  ) {
    const s = new Cursor(source.read(sectionHeaderOffset, 64), `${source.name}: section header 0`);
    const size = s.seek(32).size64();
    const link = s.u32();
    const info = s.u32();
    if (sectionHeaderCount === 0) sectionHeaderCount = size;
    if (sectionNameIndex === 0xffff) sectionNameIndex = link;
    if (programHeaderCount === 0xffff) programHeaderCount = info;
  }
  return {
    type,
    machine,
    entry,
    flags,
    programHeaderOffset,
    programHeaderCount,
    sectionHeaderOffset,
    sectionHeaderCount,
    sectionNameIndex,
  };
}

/** All program headers. The claimed count is checked against the file's size before anything is allocated. */
export function readProgramHeaders(source: ByteSource, header: ElfHeader): ProgramHeader[] {
  const bytes = source.read(header.programHeaderOffset, header.programHeaderCount * 56);
  const c = new Cursor(bytes, `${source.name}: program headers`);
  const out: ProgramHeader[] = [];
  for (let i = 0; i < header.programHeaderCount; i++) {
    const type = c.u32();
    const flags = c.u32();
    const offset = c.size64();
    const virtualAddress = c.u64();
    const physicalAddress = c.u64();
    const fileSize = c.size64();
    const memorySize = c.u64();
    c.skip(8);
    out.push({ type, flags, offset, virtualAddress, physicalAddress, fileSize, memorySize });
  }
  return out;
}

/** All section headers with their names; contents are read by `readSection`. */
export function readSections(source: ByteSource, header: ElfHeader): ElfSection[] {
  if (header.sectionHeaderOffset === 0) return [];
  const bytes = source.read(header.sectionHeaderOffset, header.sectionHeaderCount * 64).slice();
  const c = new Cursor(bytes, `${source.name}: section headers`);
  const raw = [];
  for (let i = 0; i < header.sectionHeaderCount; i++) {
    const nameOffset = c.u32();
    const type = c.u32();
    const flags = Number(c.u64() & 0xffffffffn);
    const address = c.u64();
    const offset = c.size64();
    const size = c.size64();
    const link = c.u32();
    const info = c.u32();
    const align = c.size64();
    const entrySize = c.size64();
    raw.push({ index: i, nameOffset, type, flags, address, offset, size, link, info, align, entrySize });
  }
  const names = raw[header.sectionNameIndex];
  if (raw.length > 0 && names === undefined) {
    throw new FormatError(
      `${source.name}: ELF header`,
      `section name table ${header.sectionNameIndex} of ${raw.length}`,
    );
  }
  const strings = names && names.type !== 8 ? source.read(names.offset, names.size).slice() : new Uint8Array();
  return raw.map(({ nameOffset, ...section }) => ({
    ...section,
    name:
      nameOffset < strings.length
        ? new Cursor(strings, `${source.name}: section names`).seek(nameOffset).cstring()
        : "",
  }));
}

/** A section's bytes (lent, see ByteSource.read); empty for SHT_NOBITS. */
export function readSection(source: ByteSource, section: ElfSection): Uint8Array {
  return section.type === 8 ? new Uint8Array() : source.read(section.offset, section.size);
}

/** The notes in `bytes` (4-byte alignment, as Linux and QEMU write them). A note that runs past the end throws. */
export function readNotes(bytes: Uint8Array, part: string): ElfNote[] {
  const c = new Cursor(bytes, part);
  const notes: ElfNote[] = [];
  while (c.remaining >= 12) {
    const start = c.offset;
    const nameSize = c.u32();
    const descSize = c.u32();
    const type = c.u32();
    if (nameSize === 0 && descSize === 0 && type === 0) break; // the unused rest of a per-CPU note page
    const name = c.text(nameSize);
    if (nameSize % 4 !== 0) c.skip(Math.min(c.remaining, 4 - (nameSize % 4)));
    const desc = c.takeBytes(descSize);
    if (descSize % 4 !== 0) c.skip(Math.min(c.remaining, 4 - (descSize % 4)));
    notes.push({ name, type, desc, where: `${c.where(start)}: note ${name} type ${type}` });
  }
  return notes;
}
