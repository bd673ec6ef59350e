// Links the core: input sections into output sections by a script, at a base address of choice. Linked at the
// build address it gives the image; linked once more at the address of this boot it gives, without any use of the
// KASLR relocation table, what a correct reader of that table must arrive at.
import { alignUp, ByteWriter } from "../bytes.ts";
import { placeOf, type SymbolDefinition, symbolPlus, type Unit } from "./unit.ts";

/** A step inside an output section: an input section's name, a boundary symbol, or an alignment. */
export type ScriptPart = string | { readonly symbol: string } | { readonly align: number };

export interface ScriptSection {
  readonly name: string;
  /** SHF_* of the output section */
  readonly flags: number;
  readonly type?: number;
  readonly align: number;
  readonly entrySize?: number;
  /** per-CPU data is linked at address 0 and does not move */
  readonly percpu?: boolean;
  /** byte between input sections; int3 in code */
  readonly fill?: number;
  /** boundary symbols outside: at the section's start and end */
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  readonly parts: readonly ScriptPart[];
}

export interface OutputSection {
  readonly name: string;
  readonly flags: number;
  readonly type: number;
  readonly align: number;
  readonly entrySize: number;
  /** 0 for the per-CPU section */
  readonly address: bigint;
  /** where its initial content lies in the kernel mapping; differs from `address` for per-CPU data only */
  readonly loadAddress: bigint;
  readonly bytes: Uint8Array;
  /** memory size; larger than bytes for NOBITS */
  readonly size: number;
}

export interface LinkedSymbol {
  readonly address: bigint;
  readonly size: number;
  readonly section: string;
  readonly kind: SymbolDefinition["kind"];
  readonly global: boolean;
  readonly percpu: boolean;
}

/** Where KASLR must add (abs64, abs32) or subtract (inverse32) its offset: addresses of the fields. */
export interface RelocationTable {
  readonly abs64: bigint[];
  readonly abs32: bigint[];
  readonly inverse32: bigint[];
}

export interface LinkedCore {
  readonly sections: readonly OutputSection[];
  readonly symbols: ReadonlyMap<string, LinkedSymbol>;
  readonly relocations: RelocationTable;
  section(name: string): OutputSection;
  /** runtime address of "name", "name+8", or a place inside an input section */
  address(symbol: string): bigint;
}

interface Placed {
  readonly output: number;
  readonly offset: number;
}

/** Links `unit` with its first section at `base`. */
export function linkCore(unit: Unit, script: readonly ScriptSection[], base: bigint): LinkedCore {
  const placed = new Map<string, Placed>();
  const boundaries: { name: string; output: number; offset: number }[] = [];
  const drafts = script.map((s, index) => {
    const bytes = new ByteWriter();
    for (const part of s.parts) {
      if (typeof part !== "string") {
        if ("align" in part) bytes.align(part.align, s.fill ?? 0);
        else boundaries.push({ name: part.symbol, output: index, offset: bytes.length });
        continue;
      }
      const input = unit.sections.get(part);
      if (!input) continue;
      bytes.align(input.align, s.fill ?? 0);
      placed.set(part, { output: index, offset: bytes.length });
      bytes.bytes(input.bytes.take());
    }
    return bytes;
  });
  for (const name of unit.sections.keys())
    if (!placed.has(name)) throw new Error(`link script has no place for ${name}`);

  const sections: OutputSection[] = [];
  const symbols = new Map<string, LinkedSymbol>();
  let next = base;
  script.forEach((s, i) => {
    const bytes = drafts[i].take();
    const load = BigInt(alignUp(Number(next - base), s.align)) + base;
    const nobits = s.type === 8;
    const boundary = (names: readonly string[] | undefined, address: bigint) => {
      for (const name of names ?? [])
        symbols.set(name, { address, size: 0, section: s.name, kind: "notype", global: true, percpu: false });
    };
    boundary(s.before, load);
    sections.push({
      name: s.name,
      flags: s.flags,
      type: s.type ?? 1,
      align: s.align,
      entrySize: s.entrySize ?? 0,
      address: s.percpu ? 0n : load,
      loadAddress: load,
      bytes: nobits ? new Uint8Array() : bytes,
      size: bytes.length,
    });
    next = load + BigInt(bytes.length);
    boundary(s.after, next);
  });
  for (const b of boundaries) {
    const s = sections[b.output];
    const percpu = script[b.output].percpu === true;
    const address = s.address + BigInt(b.offset);
    symbols.set(b.name, { address, size: 0, section: s.name, kind: "notype", global: true, percpu });
  }
  for (const d of unit.symbols.values()) {
    const p = placed.get(d.section);
    if (!p) throw new Error(`${d.name} lies in no section`);
    const s = sections[p.output];
    const percpu = script[p.output].percpu === true;
    const address = s.address + BigInt(p.offset + d.offset);
    symbols.set(d.name, { address, size: d.size, section: s.name, kind: d.kind, global: d.global, percpu });
  }

  const core: LinkedCore = {
    sections,
    symbols,
    relocations: { abs64: [], abs32: [], inverse32: [] },
    section(name) {
      const s = sections.find((x) => x.name === name);
      if (!s) throw new Error(`no output section ${name}`);
      return s;
    },
    address(text) {
      const place = placeOf(text);
      if (place) {
        const p = placed.get(place.section);
        if (!p) throw new Error(`no section ${place.section}`);
        return sections[p.output].address + BigInt(p.offset + place.offset);
      }
      const whole = symbols.get(text);
      if (whole) return whole.address;
      const { symbol, addend } = symbolPlus(text);
      const found = symbols.get(symbol);
      if (!found || symbol === text) throw new Error(`undefined symbol ${text}`);
      return found.address + BigInt(addend);
    },
  };
  for (const input of unit.sections.values()) relocate(core, script, placed, input.name, unit);
  return core;
}

function relocate(
  core: LinkedCore,
  script: readonly ScriptSection[],
  placed: ReadonlyMap<string, Placed>,
  name: string,
  unit: Unit,
): void {
  const p = placed.get(name)!;
  const s = core.sections[p.output];
  const view = new DataView(s.bytes.buffer, s.bytes.byteOffset, s.bytes.byteLength);
  const { abs64, abs32, inverse32 } = core.relocations;
  for (const r of unit.section(name).relocations) {
    const at = p.offset + r.offset;
    const field = s.address + BigInt(at);
    const target = core.address(r.symbol) + BigInt(r.addend);
    const fixed = core.symbols.get(r.symbol)?.percpu === true;
    // Addresses inside the per-CPU section are named by where their initial content lies in the kernel mapping.
    const where = s.loadAddress + BigInt(at);
    if (r.kind === "abs64") {
      view.setBigUint64(at, BigInt.asUintN(64, target), true);
      if (!fixed) abs64.push(where);
    } else if (r.kind === "abs32s" || r.kind === "abs32") {
      view.setUint32(at, Number(BigInt.asUintN(32, target)), true);
      if (!fixed) abs32.push(where);
    } else if (r.kind === "pc64") {
      view.setBigUint64(at, BigInt.asUintN(64, target - field), true);
    } else {
      view.setUint32(at, Number(BigInt.asUintN(32, target - field)), true);
      if (fixed && !script[p.output].percpu) inverse32.push(where);
    }
  }
}
