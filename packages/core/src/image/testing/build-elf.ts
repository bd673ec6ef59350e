// Builds small ELF files and boot images byte by byte, for the tests of this room and of those that open images.

export interface SectionSpec {
  readonly name: string;
  readonly type?: number;
  readonly flags?: number;
  readonly address?: bigint;
  readonly data?: Uint8Array;
  /** For SHT_NOBITS: bytes in memory. */
  readonly size?: number;
  readonly link?: number;
  readonly info?: number;
  readonly entrySize?: number;
}

export interface SegmentSpec {
  readonly type?: number;
  readonly virtual: bigint;
  readonly physical: bigint;
  /** Number of the section (1 for the first given) whose bytes it loads. */
  readonly section: number;
}

export interface ElfSpec {
  /** ET_REL 1, ET_EXEC 2 */
  readonly type?: number;
  readonly machine?: number;
  readonly sections: readonly SectionSpec[];
  readonly segments?: readonly SegmentSpec[];
  /** Bytes behind the section headers. */
  readonly behind?: Uint8Array;
}

const SHT_NOBITS = 8;

/** The file's bytes: headers, contents in order, section headers (number 0 empty, .shstrtab last), `behind`. */
export function buildElf(spec: ElfSpec): Uint8Array {
  const names = [...spec.sections.map((s) => s.name), ".shstrtab"];
  const strings = new TextEncoder().encode(`\0${names.join("\0")}\0`);
  const sections: SectionSpec[] = [
    { name: "", type: 0 },
    ...spec.sections,
    { name: ".shstrtab", type: 3, data: strings },
  ];
  const segments = spec.segments ?? [];
  let at = 64 + 56 * segments.length;
  const offsets = sections.map((s) => {
    const offset = (at + 15) & ~15;
    if (s.data !== undefined) at = offset + s.data.length;
    return offset;
  });
  const table = (at + 15) & ~15;
  const behind = spec.behind ?? new Uint8Array();
  const bytes = new Uint8Array(table + 64 * sections.length + behind.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, spec.type ?? 1, true);
  view.setUint16(18, spec.machine ?? 62, true);
  view.setUint32(20, 1, true);
  if (segments.length > 0) view.setBigUint64(32, 64n, true);
  view.setBigUint64(40, BigInt(table), true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, sections.length, true);
  view.setUint16(62, sections.length - 1, true);
  segments.forEach((segment, i) => {
    const base = 64 + 56 * i;
    const size = sizeOf(sections[segment.section]);
    view.setUint32(base, segment.type ?? 1, true);
    view.setBigUint64(base + 8, BigInt(offsets[segment.section]), true);
    view.setBigUint64(base + 16, segment.virtual, true);
    view.setBigUint64(base + 24, segment.physical, true);
    view.setBigUint64(base + 32, BigInt(size), true);
    view.setBigUint64(base + 40, BigInt(size), true);
  });
  let nameAt = 1;
  sections.forEach((s, i) => {
    const base = table + 64 * i;
    if (s.data !== undefined) bytes.set(s.data, offsets[i]);
    if (i === 0) return;
    view.setUint32(base, nameAt, true);
    nameAt += s.name.length + 1;
    view.setUint32(base + 4, s.type ?? 1, true);
    view.setBigUint64(base + 8, BigInt(s.flags ?? 2), true);
    view.setBigUint64(base + 16, s.address ?? 0n, true);
    view.setBigUint64(base + 24, BigInt(offsets[i]), true);
    view.setBigUint64(base + 32, BigInt(sizeOf(s)), true);
    view.setUint32(base + 40, s.link ?? 0, true);
    view.setUint32(base + 44, s.info ?? 0, true);
    view.setBigUint64(base + 48, 1n, true);
    view.setBigUint64(base + 56, BigInt(s.entrySize ?? 0), true);
  });
  bytes.set(behind, table + 64 * sections.length);
  return bytes;
}

function sizeOf(section: SectionSpec): number {
  return section.type === SHT_NOBITS ? (section.size ?? 0) : (section.data?.length ?? 0);
}

/** A GNU build-id note. */
export function buildIdNote(id: readonly number[]): Uint8Array {
  return Uint8Array.from([4, 0, 0, 0, id.length, 0, 0, 0, 3, 0, 0, 0, 0x47, 0x4e, 0x55, 0, ...id]);
}

/** u32 words, little-endian. */
export function words(values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

/**
 * A boot image with one setup sector behind the boot sector and `payload` 0x40 bytes into the protected-mode part.
 * @param change is applied to the finished bytes, to break them
 */
export function buildBootImage(
  payload: Uint8Array,
  version = "3.0.1-test (me@here) #1",
  change?: (v: DataView) => void,
) {
  const start = 0x400;
  const bytes = new Uint8Array(start + 0x40 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 1;
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x206, 0x20f, true);
  view.setUint16(0x20e, 0x80, true);
  view.setUint32(0x248, 0x40, true);
  view.setUint32(0x24c, payload.length, true);
  bytes.set(new TextEncoder().encode(version), 0x280);
  bytes.set(payload, start + 0x40);
  change?.(view);
  return bytes;
}
