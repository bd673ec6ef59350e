// The debug sections of an ELF file as readable bytes: unpacked where the linker packed them, and with their own
// relocations applied where the file was not linked (.ko), since an unrelocated name is an offset of zero.
import { Unzlib } from "fflate";
import { decompress } from "../../bytes/decompress/index.ts";
import { type ElfSection, readElfHeader, readSection, readSections } from "../../bytes/elf.ts";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import { BufferSource, type ByteSource, SubSource } from "../../bytes/source.ts";
import { ElfSymbols } from "../elf-symbols.ts";

export interface DwarfSections {
  /** The file, for messages. */
  readonly name: string;
  /** .debug_info: read by units, since it has hundreds of MiB in a kernel */
  readonly info: ByteSource;
  readonly abbrev: Uint8Array;
  readonly str: Uint8Array;
  readonly lineStr: Uint8Array;
  readonly strOffsets: Uint8Array;
}

const ET_REL = 1;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const SHF_COMPRESSED = 0x800;
const R_X86_64_64 = 1;
const R_X86_64_32 = 10;
const R_X86_64_32S = 11;
const ELFCOMPRESS_ZLIB = 1;
const ELFCOMPRESS_ZSTD = 2;
/** Deflate packs at most 1032:1. */
const MAX_RATIO = 1032;
const STEP = 1 << 20;
/** The most that one packed debug section may become. */
const LIMIT = 1 << 30;

/** undefined when the file has no .debug_info. @throws FormatError, TruncatedError, UnsupportedError */
export function readDwarfSections(source: ByteSource): DwarfSections | undefined {
  const header = readElfHeader(source);
  const sections = readSections(source, header);
  const find = (name: string) =>
    sections.find((s) => s.type !== SHT_NOBITS && (s.name === `.debug_${name}` || s.name === `.zdebug_${name}`));
  const info = find("info");
  if (info === undefined || info.size === 0) return undefined;
  const linked = header.type !== ET_REL;
  const load = (name: string): Uint8Array => {
    const section = find(name);
    if (section === undefined) return new Uint8Array();
    const bytes = unpack(source, section);
    return linked ? bytes : relocate(source, sections, section, bytes);
  };
  const isPlain = (info.flags & SHF_COMPRESSED) === 0 && !info.name.startsWith(".z");
  return {
    name: source.name,
    info:
      linked && isPlain
        ? new SubSource(`${source.name}: .debug_info`, source, info.offset, info.size)
        : new BufferSource(`${source.name}: .debug_info`, load("info")),
    abbrev: load("abbrev"),
    str: load("str"),
    lineStr: load("line_str"),
    strOffsets: load("str_offsets"),
  };
}

/** A section's bytes, its own to keep. */
function unpack(source: ByteSource, section: ElfSection): Uint8Array {
  const bytes = readSection(source, section);
  const where = `${source.name}: ${section.name}`;
  if ((section.flags & SHF_COMPRESSED) !== 0) {
    if (bytes.length < 24) throw new FormatError(where, `${bytes.length} bytes hold no Elf64_Chdr`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const type = view.getUint32(0, true);
    const sizeHint = Number(view.getBigUint64(8, true));
    if (type === ELFCOMPRESS_ZLIB) return inflate(bytes.subarray(24), sizeHint, where);
    if (type !== ELFCOMPRESS_ZSTD) throw new UnsupportedError(where, `section compression ${type}`);
    return decompress("zstd", bytes.subarray(24), { name: where, sizeHint, limit: LIMIT });
  }
  if (section.name.startsWith(".z")) {
    // binutils before SHF_COMPRESSED: "ZLIB", u64 size big-endian
    if (bytes.length < 12 || bytes[0] !== 0x5a) throw new FormatError(where, "no ZLIB header");
    const size = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(4, false);
    return inflate(bytes.subarray(12), Number(size), where);
  }
  return bytes.slice();
}

/** A zlib stream of `size` bytes, which are reserved only if so many can come out of it. */
function inflate(packed: Uint8Array, size: number, where: string): Uint8Array {
  if (!(size <= Math.min(LIMIT, packed.length * MAX_RATIO))) {
    throw new FormatError(where, `${packed.length} bytes cannot unpack to ${size}`);
  }
  const out = new Uint8Array(size);
  let length = 0;
  let finished = false;
  const stream = new Unzlib((chunk, last) => {
    if (length + chunk.length > size) throw new FormatError(where, `unpacks to more than the ${size} bytes it claims`);
    out.set(chunk, length);
    length += chunk.length;
    finished ||= last;
  });
  try {
    for (let at = 0; at < packed.length; at += STEP) {
      stream.push(packed.subarray(at, at + STEP), at + STEP >= packed.length);
    }
  } catch (error) {
    if (error instanceof FormatError || !(error instanceof Error)) throw error;
    throw new FormatError(where, `broken zlib data (${error.message})`);
  }
  if (!finished || length !== size) throw new TruncatedError(where, size, length);
  return out;
}

/** Applies the relocations for one debug section in place. Kinds that only addresses use are passed over. */
function relocate(
  source: ByteSource,
  sections: readonly ElfSection[],
  target: ElfSection,
  bytes: Uint8Array,
): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const rela of sections) {
    if (rela.type !== SHT_RELA || rela.info !== target.index) continue;
    const where = `${source.name}: ${rela.name}`;
    const symtab = sections[rela.link];
    if (symtab === undefined) throw new FormatError(where, `symbol table ${rela.link} of ${sections.length} sections`);
    const symbols = new ElfSymbols(unpack(source, symtab), new Uint8Array(), `${source.name}: ${symtab.name}`);
    const entries = unpack(source, rela);
    const table = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
    for (let at = 0; at + 24 <= entries.length; at += 24) {
      const type = table.getUint32(at + 8, true);
      if (type !== R_X86_64_64 && type !== R_X86_64_32 && type !== R_X86_64_32S) continue;
      const offset = table.getUint32(at, true) + table.getUint32(at + 4, true) * 2 ** 32;
      const symbol = table.getUint32(at + 12, true);
      const size = type === R_X86_64_64 ? 8 : 4;
      if (symbol >= symbols.count || offset + size > bytes.length) {
        throw new FormatError(
          `${where}+0x${at.toString(16)}`,
          `symbol ${symbol} of ${symbols.count} at 0x${offset.toString(16)} of 0x${bytes.length.toString(16)}`,
        );
      }
      const value = symbols.values[symbol] + table.getInt32(at + 20, true) * 2 ** 32 + table.getUint32(at + 16, true);
      view.setUint32(offset, value % 2 ** 32, true);
      if (size === 8) view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
    }
  }
  return bytes;
}
