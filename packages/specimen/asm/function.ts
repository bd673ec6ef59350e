// Writes one function: assembly lines and the macros that emit patch sites, local labels, and the ORC entries that
// follow from its pushes and pops.

import type { InputSection, SiteDeclaration, Unit } from "../object/unit.ts";
import { encode } from "./encode.ts";
import { ENTRY, type FrameState, orcEntry, step } from "./orc.ts";

/** An assembly line, a label ("name:" for a symbol, ".name:" for a local one), or a macro that emits a site. */
export type Part = string | ((w: FunctionWriter) => void);

export interface FunctionOptions {
  /** default ".text" */
  readonly section?: string;
  /** default true */
  readonly global?: boolean;
  /** default 16 */
  readonly align?: number;
  /** exact offset in the section, which must not be written yet */
  readonly at?: number;
  /** "end": the outermost frame, where unwinding stops; default: entered by a call */
  readonly frame?: "call" | "end";
  /** Write ORC entries; default true. A kernel built with frame pointers has none. */
  readonly orc?: boolean;
}

export class FunctionWriter {
  private readonly labels = new Map<string, number>();
  private readonly framesAtLabels = new Map<string, FrameState>();
  private readonly deferred: (() => void)[] = [];
  private frame: FrameState | "end";
  private readonly orc: boolean;
  private orcAt = "";

  constructor(
    readonly unit: Unit,
    readonly section: string,
    readonly name: string,
    options: FunctionOptions,
  ) {
    this.frame = options.frame === "end" ? "end" : ENTRY;
    this.orc = options.orc ?? true;
  }

  private get input(): InputSection {
    return this.unit.section(this.section);
  }

  /** Offset of the next byte in the section. */
  get offset(): number {
    return this.input.bytes.length;
  }

  /** Runs `action` when the whole function is written and its labels are known. */
  atEnd(action: () => void): void {
    this.deferred.push(action);
  }

  /** A name for table entries: a local label's place (only `atEnd`), or the symbol itself. */
  target(label: string): string {
    if (!label.startsWith(".")) return label;
    const at = this.labels.get(label);
    if (at === undefined) throw new Error(`${this.name}: no label ${label}`);
    return this.unit.place(this.section, at);
  }

  /** Appends bytes as they are. */
  bytes(data: ArrayLike<number>): void {
    this.hint();
    this.input.bytes.bytes(data);
  }

  /** Declares the next `length` bytes (or those at `offset`) as a place that the kernel rewrites. */
  site(site: Omit<SiteDeclaration, "section" | "offset"> & { readonly offset?: number }): void {
    this.unit.sites.push({ ...site, section: this.section, offset: site.offset ?? this.offset });
  }

  private hint(): void {
    if (!this.orc) return;
    const now = JSON.stringify(this.frame);
    if (now === this.orcAt) return;
    this.orcAt = now;
    orcEntry(this.unit, this.section, this.offset, this.frame);
  }

  private label(name: string): void {
    this.labels.set(name, this.offset);
    const frame = this.framesAtLabels.get(name);
    if (frame) this.frame = frame;
  }

  private remember(label: string): void {
    if (this.frame !== "end" && !this.framesAtLabels.has(label)) this.framesAtLabels.set(label, this.frame);
  }

  /** Branch with an 8-bit displacement to a local label. */
  private shortBranch(mnemonic: string, label: string): void {
    this.remember(label);
    const { bytes } = encode(`${mnemonic} short x`);
    this.bytes(bytes);
    const end = this.offset;
    this.atEnd(() => {
      const distance = (this.labels.get(label) ?? Number.NaN) - end;
      if (!(distance >= -128 && distance <= 127)) throw new Error(`${this.name}: ${label} is ${distance} bytes away`);
      this.input.bytes.patch(end - 1, [distance & 0xff]);
    });
  }

  line(line: string): void {
    const label = /^(\.?\w+):$/.exec(line);
    if (label) {
      if (line.startsWith(".")) this.label(label[1]);
      else this.unit.define(label[1], this.section, { kind: "notype" });
      return;
    }
    const near = /^(j\w+) (near )?(\.\w+)$/.exec(line);
    if (near && !near[2]) this.shortBranch(near[1], near[3]);
    else {
      const { bytes, fixups } = encode(line.replace(" near ", " "));
      this.hint();
      const start = this.offset;
      this.input.bytes.bytes(bytes);
      for (const f of fixups) {
        const add = (symbol: string) =>
          this.input.relocations.push({ offset: start + f.offset, kind: f.kind, symbol, addend: f.addend });
        if (f.symbol.startsWith(".")) {
          this.remember(f.symbol);
          this.atEnd(() =>
            this.input.bytes.patch32(start + f.offset, (this.labels.get(f.symbol) ?? 0) - start - f.offset + f.addend),
          );
        } else add(f.symbol);
      }
    }
    if (this.frame !== "end") this.frame = step(line, this.frame);
  }

  /** Writes instructions into another section (replacements, .altinstr_aux); they may branch to labels here. */
  elsewhere(section: string, lines: readonly string[]): void {
    const other = this.unit.section(section);
    for (const line of lines) {
      const { bytes, fixups } = encode(line);
      const start = other.bytes.length;
      other.bytes.bytes(bytes);
      for (const f of fixups)
        this.atEnd(() =>
          other.relocations.push({
            offset: start + f.offset,
            kind: f.kind,
            symbol: this.target(f.symbol),
            addend: f.addend,
          }),
        );
    }
  }

  finish(): void {
    for (const action of this.deferred) action();
    if (this.orc) orcEntry(this.unit, this.section, this.offset, "gap");
  }
}

/**
 * Names a return address for the state builder, without defining a symbol.
 * @param back bytes from the call's end to here, when patching makes the call shorter than it was built
 */
export function mark(name: string, back = 0): Part {
  return (w) => {
    w.unit.marks.set(`>${name}`, w.unit.place(w.section, w.offset - back));
  };
}

/** Writes a function into a unit and defines its symbol. */
export function fn(unit: Unit, name: string, parts: readonly Part[], options: FunctionOptions = {}): void {
  const section = options.section ?? ".text";
  const input = unit.section(section);
  const align = options.align ?? 16;
  input.align = Math.max(input.align, align);
  input.bytes.align(align, 0xcc);
  if (options.at !== undefined) input.bytes.fill(gap(name, input, options.at), 0xcc);
  const symbol = unit.define(name, section, { kind: "func", global: options.global ?? true });
  const writer = new FunctionWriter(unit, section, name, options);
  for (const part of parts) {
    if (typeof part === "string") for (const line of part.split("\n")) emit(writer, line);
    else part(writer);
  }
  writer.finish();
  symbol.size = writer.offset - symbol.offset;
}

function gap(name: string, input: InputSection, offset: number): number {
  if (offset < input.bytes.length) throw new Error(`${name} cannot lie at 0x${offset.toString(16)}: that is taken`);
  return offset - input.bytes.length;
}

/** Fills up to an exact offset in the section. */
export function padTo(offset: number, fill = 0xcc): Part {
  return (w) => w.bytes(new Uint8Array(gap(w.name, w.unit.section(w.section), offset)).fill(fill));
}

function emit(writer: FunctionWriter, text: string): void {
  const line = text.replace(/;.*$/, "").trim().replaceAll(/\s+/g, " ");
  if (line !== "") writer.line(line);
}
