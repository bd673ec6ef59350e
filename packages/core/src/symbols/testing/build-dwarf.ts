// Builds .debug_info, .debug_abbrev and .debug_str for tests from a tree of DIEs, in any version and both formats.
import { buildElf, type FixtureElfSymbol, type FixtureSection } from "./build-elf.ts";

/** attribute, form, value; a reference's value is the label of another DIE, an expression's its bytes */
export type FixtureAttribute = readonly [number, number, (number | string | readonly number[] | bigint)?];
export interface FixtureDie {
  readonly tag: number;
  readonly label?: string;
  readonly attributes?: readonly FixtureAttribute[];
  readonly children?: readonly FixtureDie[];
}
export interface DwarfFixtureOptions {
  readonly version: 2 | 3 | 4 | 5;
  readonly offsetSize?: 4 | 8;
  /** One list of top-level DIEs for each unit. */
  readonly units: readonly (readonly FixtureDie[])[];
  /** DW_AT_language of the units; C when not told */
  readonly language?: number;
}
export interface DwarfBytes {
  readonly info: Uint8Array;
  readonly abbrev: Uint8Array;
  readonly str: Uint8Array;
  readonly strOffsets: Uint8Array;
  /** Places in .debug_info that hold offsets into .debug_str. */
  readonly stringPlaces: readonly number[];
  /** Places of DIEs by label. */
  readonly labels: ReadonlyMap<string, number>;
}

const F = { data1: 0x0b, string: 8, strp: 0x0e, strx1: 0x25 };

export function buildDwarf(options: DwarfFixtureOptions): DwarfBytes {
  const { version, offsetSize = 4 } = options;
  const info: number[] = [];
  const abbrev: number[] = [];
  const str: number[] = [0];
  const strOffsets: number[] = [];
  const known = new Map<string, number>();
  const stringPlaces: number[] = [];
  const labels = new Map<string, number>();
  const fixups: { at: number; size: number; label: string; base: number }[] = [];
  const put = (value: number | bigint, size: number, into = info) => {
    for (let i = 0n; i < size; i++) into.push(Number((BigInt.asUintN(64, BigInt(value)) >> (8n * i)) & 0xffn));
  };
  const uleb = (value: number | bigint, into = info) => {
    let rest = BigInt(value);
    for (;;) {
      const byte = Number(rest & 0x7fn);
      rest >>= 7n;
      into.push(rest === 0n ? byte : byte | 0x80);
      if (rest === 0n) return;
    }
  };
  const sleb = (value: number | bigint, into = info) => {
    let rest = BigInt(value);
    for (;;) {
      const byte = Number(rest & 0x7fn);
      rest >>= 7n;
      const last = (rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0);
      into.push(last ? byte : byte | 0x80);
      if (last) return;
    }
  };
  const text = (name: string): number => {
    let at = known.get(name);
    if (at === undefined) {
      at = str.length;
      known.set(name, at);
      for (const char of name) str.push(char.charCodeAt(0));
      str.push(0);
    }
    return at;
  };
  for (const top of options.units) {
    const unitAt = info.length;
    if (offsetSize === 8) put(0xffffffff, 4);
    const lengthAt = info.length;
    put(0, offsetSize);
    put(version, 2);
    if (version >= 5) info.push(1, 8);
    put(abbrev.length, offsetSize);
    if (version < 5) info.push(8);
    let code = 0;
    const write = (die: FixtureDie): void => {
      if (die.label !== undefined) labels.set(die.label, info.length);
      uleb(++code);
      uleb(code, abbrev);
      uleb(die.tag, abbrev);
      abbrev.push(die.children === undefined ? 0 : 1);
      const siblings: number[] = [];
      for (const [attribute, form, value] of die.attributes ?? []) {
        uleb(attribute, abbrev);
        uleb(form, abbrev);
        if (form === 0x21) sleb(value as number, abbrev);
        else if (attribute === 1) {
          siblings.push(info.length);
          put(0, 4);
        } else writeValue(form, value ?? 0, unitAt);
      }
      abbrev.push(0, 0);
      for (const child of die.children ?? []) write(child);
      if (die.children !== undefined) info.push(0);
      for (const at of siblings) for (let i = 0; i < 4; i++) info[at + i] = ((info.length - unitAt) >> (8 * i)) & 255;
    };
    const writeValue = (form: number, value: number | string | readonly number[] | bigint, base: number): void => {
      if (form === F.strp) {
        stringPlaces.push(info.length);
        put(text(value as string), offsetSize);
      } else if (form === F.strx1) {
        info.push(strOffsets.length / offsetSize);
        put(text(value as string), offsetSize, strOffsets);
      } else if (form === F.string) info.push(...[...(value as string)].map((c) => c.charCodeAt(0)), 0);
      else if (typeof value === "string") {
        const size = { 17: 1, 18: 2, 19: 4, 20: 8, 16: version === 2 ? 8 : offsetSize }[form] ?? 4;
        fixups.push({ at: info.length, size, label: value, base: form === 16 ? 0 : base });
        put(0, size);
      } else if (typeof value === "object") {
        if (form === 0x0a) info.push(value.length);
        else uleb(value.length);
        info.push(...value);
      } else if (form === 0x0d) sleb(value);
      else if (form === 0x0f) uleb(value);
      else put(value, { 11: 1, 12: 1, 5: 2, 6: 4, 7: 8, 23: offsetSize, 25: 0 }[form] ?? 4);
    };
    const unitAttributes: FixtureAttribute[] = [[0x13, F.data1, options.language ?? 0x0c]];
    if (version >= 5) unitAttributes.push([0x72, 0x17, 0]);
    write({ tag: 0x11, attributes: unitAttributes, children: top });
    abbrev.push(0);
    const length = BigInt(info.length - lengthAt - offsetSize);
    for (let i = 0; i < offsetSize; i++) info[lengthAt + i] = Number((length >> BigInt(8 * i)) & 255n);
  }
  for (const { at, size, label, base } of fixups) {
    const target = (labels.get(label) ?? -1) - base;
    for (let i = 0; i < size; i++) info[at + i] = Number((BigInt.asUintN(64, BigInt(target)) >> BigInt(8 * i)) & 255n);
  }
  return {
    info: Uint8Array.from(info),
    abbrev: Uint8Array.from(abbrev),
    str: Uint8Array.from(str),
    strOffsets: Uint8Array.from(strOffsets),
    stringPlaces,
    labels,
  };
}

/** A linked file with these sections, or with `relocatable` one whose names are only in its relocations. */
export function dwarfElf(dwarf: DwarfBytes, relocatable = false): Uint8Array {
  const { info, stringPlaces } = dwarf;
  const sections: FixtureSection[] = [
    { name: ".debug_abbrev", bytes: dwarf.abbrev },
    { name: ".debug_str", bytes: dwarf.str },
    { name: ".debug_str_offsets", bytes: dwarf.strOffsets },
  ];
  if (!relocatable) return buildElf(2, [{ name: ".debug_info", bytes: info }, ...sections]);
  const bare = info.slice();
  const view = new DataView(bare.buffer);
  const rela = new DataView(new ArrayBuffer(stringPlaces.length * 24));
  stringPlaces.forEach((place, i) => {
    rela.setBigUint64(i * 24, BigInt(place), true);
    rela.setUint32(i * 24 + 8, 10, true);
    rela.setUint32(i * 24 + 12, 1, true);
    rela.setBigInt64(i * 24 + 16, BigInt(view.getUint32(place, true)), true);
    view.setUint32(place, 0, true);
  });
  const symbols: FixtureElfSymbol[] = [{ name: "", value: 0n, info: 3, section: ".debug_str" }];
  const relaSection: FixtureSection = {
    name: ".rela.debug_info",
    type: 4,
    bytes: new Uint8Array(rela.buffer),
    link: ".symtab",
    info: ".debug_info",
    entrySize: 24,
  };
  return buildElf(1, [{ name: ".debug_info", bytes: bare }, relaSection, ...sections], symbols);
}
