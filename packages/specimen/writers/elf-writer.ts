// Writes ELF64 little-endian x86-64 files: header, program headers, section contents, section names and headers.
import { alignUp, ByteWriter } from "../bytes.ts";

export interface ElfSectionInput {
  readonly name: string;
  readonly type: number;
  readonly flags?: number;
  readonly address?: bigint;
  readonly bytes: Uint8Array;
  /** memory size when it differs: NOBITS */
  readonly size?: number;
  readonly link?: number;
  readonly info?: number;
  readonly align?: number;
  readonly entrySize?: number;
  /** exact file offset; default: the next aligned one */
  readonly offset?: number;
}

export interface ElfSegmentInput {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly fileSize: number;
  readonly memorySize?: number;
  readonly align?: number;
}

export interface ElfInput {
  /** ET_REL 1, ET_EXEC 2, ET_CORE 4 */
  readonly type: number;
  readonly entry?: bigint;
  readonly segments?: readonly ElfSegmentInput[];
  /** section 0 and .shstrtab are added; indices count from 1 */
  readonly sections?: readonly ElfSectionInput[];
}

const NOBITS = 8;
const STRTAB = 3;

/** File offset that a section gets, given where the one before ended. */
export function sectionOffset(s: ElfSectionInput, end: number): number {
  return s.offset ?? alignUp(end, Math.max(1, s.align ?? 1));
}

export function writeElf(input: ElfInput): Uint8Array {
  const segments = input.segments ?? [];
  const named = input.sections ?? [];
  const names = new ByteWriter().u8(0);
  const nameAt = new Map<string, number>();
  for (const name of [...named.map((s) => s.name), ".shstrtab"]) {
    if (!nameAt.has(name)) nameAt.set(name, names.length);
    names.cstring(name);
  }
  const sections: ElfSectionInput[] =
    named.length === 0 ? [] : [...named, { name: ".shstrtab", type: STRTAB, bytes: names.take() }];
  const w = new ByteWriter().zeros(64 + 56 * segments.length);
  const offsets: number[] = [];
  for (const s of sections) {
    const offset = sectionOffset(s, w.length);
    if (offset < w.length && s.type !== NOBITS) throw new Error(`${s.name} overlaps what lies before it`);
    offsets.push(offset);
    if (s.type !== NOBITS) w.zeros(offset - w.length).bytes(s.bytes);
  }
  w.align(8);
  const headers = w.length;
  if (sections.length > 0) w.zeros(64);
  sections.forEach((s, i) => {
    w.u32(nameAt.get(s.name)!)
      .u32(s.type)
      .u64(s.flags ?? 0)
      .u64(s.address ?? 0n);
    w.u64(offsets[i]).u64(s.size ?? s.bytes.length);
    w.u32(s.link ?? 0)
      .u32(s.info ?? 0)
      .u64(s.align ?? 1)
      .u64(s.entrySize ?? 0);
  });
  const head = new ByteWriter().bytes([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]).zeros(8);
  head
    .u16(input.type)
    .u16(62)
    .u32(1)
    .u64(input.entry ?? 0n);
  head
    .u64(segments.length > 0 ? 64 : 0)
    .u64(sections.length > 0 ? headers : 0)
    .u32(0)
    .u16(64);
  head.u16(segments.length > 0 ? 56 : 0).u16(segments.length);
  head
    .u16(64)
    .u16(sections.length > 0 ? sections.length + 1 : 0)
    .u16(sections.length);
  for (const p of segments) {
    head.u32(p.type).u32(p.flags).u64(p.offset).u64(p.virtual).u64(p.physical);
    head
      .u64(p.fileSize)
      .u64(p.memorySize ?? p.fileSize)
      .u64(p.align ?? 0);
  }
  return w.patch(0, head.take()).take();
}
