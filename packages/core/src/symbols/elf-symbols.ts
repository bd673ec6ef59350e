// The symbols of an ELF file: a module's .symtab, a vmlinux that was not stripped. Kept as columns, since linking a
// module asks for thousands by number and a vmlinux has 200,000; names are made when asked for.
import { Cursor } from "../bytes/cursor.ts";
import { type ElfSection, readSection } from "../bytes/elf.ts";
import { FormatError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import { NameIndex } from "./name-index.ts";

export const SHN_UNDEF = 0;
export const SHN_ABS = 0xfff1;
export const SHN_COMMON = 0xfff2;
const SHN_XINDEX = 0xffff;
const SHT_SYMTAB = 2;
const SHT_SYMTAB_SHNDX = 18;
const ENTRY = 24;
const latin1 = new TextDecoder("latin1");

/** ELF64_ST_TYPE */
export const STT = { notype: 0, object: 1, func: 2, section: 3, file: 4, common: 5, tls: 6 } as const;
/** ELF64_ST_BIND */
export const STB = { local: 0, global: 1, weak: 2 } as const;

export class ElfSymbols {
  readonly count: number;
  /** st_value as a signed number: exact for offsets into sections and for kernel addresses (see signedAddress). */
  readonly values: Float64Array;
  /** st_size */
  readonly sizes: Float64Array;
  /** Section numbers, the extended ones resolved; SHN_UNDEF, SHN_ABS and SHN_COMMON as they are. */
  readonly sections: Uint32Array;
  /** st_info */
  readonly infos: Uint8Array;
  private readonly nameOffsets: Uint32Array;
  private index: NameIndex | undefined;

  /**
   * @param bytes a whole symbol table (Elf64_Sym[])
   * @param strings its string table
   * @param where how messages name it, "floppy.ko: .symtab"
   * @param extended SHT_SYMTAB_SHNDX, when the file has 0xff00 sections or more
   */
  constructor(
    bytes: Uint8Array,
    private readonly strings: Uint8Array,
    private readonly where: string,
    extended?: Uint8Array,
  ) {
    if (bytes.length % ENTRY !== 0) throw new FormatError(where, `${bytes.length} bytes are no whole symbols`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const longer = extended && new DataView(extended.buffer, extended.byteOffset, extended.byteLength);
    this.count = bytes.length / ENTRY;
    this.values = new Float64Array(this.count);
    this.sizes = new Float64Array(this.count);
    this.sections = new Uint32Array(this.count);
    this.infos = new Uint8Array(this.count);
    this.nameOffsets = new Uint32Array(this.count);
    for (let i = 0, at = 0; i < this.count; i++, at += ENTRY) {
      this.nameOffsets[i] = view.getUint32(at, true);
      this.infos[i] = bytes[at + 4];
      const section = view.getUint16(at + 6, true);
      const isLong = section === SHN_XINDEX && longer !== undefined && i * 4 + 4 <= longer.byteLength;
      this.sections[i] = isLong ? longer.getUint32(i * 4, true) : section;
      this.values[i] = view.getInt32(at + 12, true) * 2 ** 32 + view.getUint32(at + 8, true);
      this.sizes[i] = view.getUint32(at + 20, true) * 2 ** 32 + view.getUint32(at + 16, true);
    }
  }

  /** @throws FormatError when the name lies outside the string table */
  name(row: number): string {
    const start = this.nameOffsets[row];
    if (start === 0) return "";
    const end = start < this.strings.length ? this.strings.indexOf(0, start) : -1;
    if (end < 0) {
      throw new FormatError(
        `${this.where}+0x${(row * ENTRY).toString(16)}`,
        `symbol ${row} has its name at ${start}, of ${this.strings.length}`,
      );
    }
    return latin1.decode(this.strings.subarray(start, end));
  }

  isNamed(row: number): boolean {
    const start = this.nameOffsets[row];
    return start < this.strings.length && this.strings[start] !== 0;
  }

  /** STT_* of a row. */
  type(row: number): number {
    return this.infos[row] & 15;
  }

  /** STB_* of a row. */
  binding(row: number): number {
    return this.infos[row] >>> 4;
  }

  /** Rows with that name, ascending; undefined symbols are among them. */
  rows(name: string): readonly number[] {
    if (this.index === undefined) {
      this.index = new NameIndex(this.strings);
      for (let row = 0; row < this.count; row++) {
        const start = this.nameOffsets[row];
        if (start !== 0 && start < this.strings.length) this.index.add(start, row);
      }
    }
    return this.index.rows(name);
  }

  /** The first row of that name which is defined in the file. */
  defined(name: string): number | undefined {
    return this.rows(name).find((row) => this.sections[row] !== SHN_UNDEF);
  }
}

/**
 * The symbols of an ELF file; undefined when it was stripped of them.
 * @throws FormatError, TruncatedError
 */
export function readElfSymbols(source: ByteSource, sections: readonly ElfSection[]): ElfSymbols | undefined {
  const table = sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) return undefined;
  const where = `${source.name}: ${table.name || "symbol table"}`;
  if (table.entrySize !== ENTRY) throw new FormatError(where, `entry size ${table.entrySize}, not ${ENTRY}`);
  const names = sections[table.link];
  if (names === undefined) throw new FormatError(where, `string table ${table.link} of ${sections.length} sections`);
  const longer = sections.find((section) => section.type === SHT_SYMTAB_SHNDX && section.link === table.index);
  const strings = readSection(source, names).slice();
  if (strings.length > 0) new Cursor(strings, `${source.name}: ${names.name}`).seek(strings.length - 1).cstring();
  const extended = longer === undefined ? undefined : readSection(source, longer).slice();
  return new ElfSymbols(readSection(source, table), strings, where, extended);
}
