// Builds small ELF64 files for tests: sections with their bytes, and a symbol table if symbols are given.
export interface FixtureSection {
  readonly name: string;
  /** SHT_*, PROGBITS unless told */
  readonly type?: number;
  readonly flags?: number;
  readonly address?: bigint;
  readonly bytes?: Uint8Array;
  /** number or name of another section */
  readonly link?: number | string;
  readonly info?: number | string;
  readonly entrySize?: number;
}
export interface FixtureElfSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size?: bigint;
  /** st_info: binding << 4 | type */
  readonly info: number;
  /** number or name of a section */
  readonly section: number | string;
}

/** @param type ET_REL 1, ET_EXEC 2 */
export function buildElf(
  type: number,
  given: readonly FixtureSection[],
  symbols?: readonly FixtureElfSymbol[],
): Uint8Array {
  const list: FixtureSection[] = [{ name: "", type: 0 }, ...given];
  const indexOf = (section: number | string | undefined): number =>
    typeof section === "string" ? list.findIndex((s) => s.name === section) : (section ?? 0);
  if (symbols !== undefined) {
    const strings = new StringSection();
    const table = new Uint8Array((symbols.length + 1) * 24);
    const view = new DataView(table.buffer);
    symbols.forEach((symbol, i) => {
      const at = (i + 1) * 24;
      view.setUint32(at, strings.add(symbol.name), true);
      table[at + 4] = symbol.info;
      view.setUint16(at + 6, indexOf(symbol.section), true);
      view.setBigUint64(at + 8, symbol.value, true);
      view.setBigUint64(at + 16, symbol.size ?? 0n, true);
    });
    list.push({ name: ".symtab", type: 2, bytes: table, link: ".strtab", entrySize: 24 });
    list.push({ name: ".strtab", type: 3, bytes: strings.bytes() });
  }
  const names = new StringSection();
  list.push({ name: ".shstrtab", type: 3 });
  const nameOffsets = list.map((section) => names.add(section.name));
  list[list.length - 1] = { name: ".shstrtab", type: 3, bytes: names.bytes() };
  let end = 64;
  const offsets = list.map((section) => {
    end = Math.ceil(end / 8) * 8;
    const at = end;
    end += section.type === 8 ? 0 : (section.bytes?.length ?? 0);
    return at;
  });
  const headers = Math.ceil(end / 8) * 8;
  const out = new Uint8Array(headers + list.length * 64);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, 62, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(40, BigInt(headers), true);
  view.setUint16(52, 64, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, list.length, true);
  view.setUint16(62, list.length - 1, true);
  list.forEach((section, i) => {
    // names are looked up now that the symbol table is in the list
    if (section.bytes !== undefined && section.type !== 8) out.set(section.bytes, offsets[i]);
    const at = headers + i * 64;
    view.setUint32(at, nameOffsets[i], true);
    view.setUint32(at + 4, section.type ?? 1, true);
    view.setBigUint64(at + 8, BigInt(section.flags ?? 0), true);
    view.setBigUint64(at + 16, section.address ?? 0n, true);
    view.setBigUint64(at + 24, BigInt(offsets[i]), true);
    view.setBigUint64(at + 32, BigInt(section.bytes?.length ?? 0), true);
    view.setUint32(at + 40, indexOf(section.link), true);
    view.setUint32(at + 44, indexOf(section.info), true);
    view.setBigUint64(at + 48, 1n, true);
    view.setBigUint64(at + 56, BigInt(section.entrySize ?? 0), true);
  });
  return out;
}

class StringSection {
  private readonly data: number[] = [0];
  add(text: string): number {
    if (text === "") return 0;
    const at = this.data.length;
    for (const char of text) this.data.push(char.charCodeAt(0));
    this.data.push(0);
    return at;
  }
  bytes(): Uint8Array {
    return Uint8Array.from(this.data);
  }
}
