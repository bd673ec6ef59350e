// What a compiler would hand to the linker: named input sections with relocations, symbols, and beside each place
// that the kernel rewrites the declaration of what the rewriting yields. One unit is the core, one each module.
import { ByteWriter } from "../bytes.ts";

export interface Relocation {
  readonly offset: number;
  /** ELF names without the R_X86_64_ prefix */
  readonly kind: "abs64" | "abs32" | "abs32s" | "pc32" | "plt32" | "pc64";
  readonly symbol: string;
  readonly addend: number;
}

export interface InputSection {
  readonly name: string;
  readonly bytes: ByteWriter;
  readonly relocations: Relocation[];
  /** SHF_*: WRITE 1, ALLOC 2, EXECINSTR 4, MERGE 16, STRINGS 32 */
  readonly flags: number;
  /** SHT_*: PROGBITS 1, NOTE 7, NOBITS 8 */
  readonly type: number;
  align: number;
  readonly entrySize: number;
}

export interface SymbolDefinition {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  size: number;
  readonly kind: "func" | "object" | "notype";
  readonly global: boolean;
}

/** The machine that the specimen's kernel booted on: what its boot-time patching depends on. */
export interface Machine {
  readonly cpus: number;
  /** boot_cpu_has(word * 32 + bit) */
  has(feature: number): boolean;
  /** runtime address of "name" or "name+offset" */
  address(symbol: string): bigint;
}

/** One place that the kernel rewrites, declared where the code is emitted. */
export interface SiteDeclaration {
  /** as in core/src/sites/base/mechanisms.ts */
  readonly mechanism: string;
  readonly section: string;
  readonly offset: number;
  readonly length: number;
  /** The bytes after boot; undefined when this machine leaves the place as it was built. */
  readonly after: (machine: Machine, at: bigint) => Uint8Array | undefined;
  /** pv slot, static key, static call key … for people */
  readonly slot?: string;
}

export interface SectionOptions {
  readonly flags?: number;
  readonly type?: number;
  readonly align?: number;
  readonly entrySize?: number;
}

const ALLOC = 2;
const DEFAULT_FLAGS: readonly (readonly [RegExp, number])[] = [
  [/^\.(text|(init|exit|entry|noinstr|spinlock|sched|cpuidle|static_call)\.text|altinstr_(aux|replacement))/, 6],
  [/^\.(data|bss|init\.data|percpu)|^__bug_table|^__jump_table|^\.gnu\.linkonce/, 3],
];

export class Unit {
  readonly sections = new Map<string, InputSection>();
  readonly symbols = new Map<string, SymbolDefinition>();
  readonly sites: SiteDeclaration[] = [];
  /** ftrace records: the place of each `call __fentry__` and its dyn_ftrace flags */
  readonly traced: { readonly place: string; readonly flags: bigint }[] = [];
  /** named places inside functions that are no symbols, ">name": return addresses that a stack will hold */
  readonly marks = new Map<string, string>();
  /** kprobes set in this unit: place and the byte that the int3 replaced */
  readonly probed: { readonly place: string; readonly original: Uint8Array }[] = [];

  /** @param name "vmlinux" or the module's name */
  constructor(readonly name: string) {}

  /** The section of that name, made at its first use. */
  section(name: string, options: SectionOptions = {}): InputSection {
    let s = this.sections.get(name);
    if (s === undefined) {
      const flags = options.flags ?? DEFAULT_FLAGS.find(([pattern]) => pattern.test(name))?.[1] ?? ALLOC;
      const type = options.type ?? (name.startsWith(".bss") ? 8 : 1);
      s = {
        name,
        bytes: new ByteWriter(),
        relocations: [],
        flags,
        type,
        align: options.align ?? 1,
        entrySize: options.entrySize ?? 0,
      };
      this.sections.set(name, s);
    }
    return s;
  }

  /** Defines a symbol at the section's end (or at `offset`). Names are unique in a unit. */
  define(name: string, section: string, options: Partial<SymbolDefinition> = {}): SymbolDefinition {
    if (this.symbols.has(name)) throw new Error(`${this.name}: ${name} defined twice`);
    const s = this.section(section);
    const symbol: SymbolDefinition = {
      name,
      section,
      offset: options.offset ?? s.bytes.length,
      size: options.size ?? 0,
      kind: options.kind ?? (s.flags & 4 ? "func" : "object"),
      global: options.global ?? true,
    };
    this.symbols.set(name, symbol);
    return symbol;
  }

  /** A data object: aligns, defines the symbol, and appends its bytes. */
  object(name: string, section: string, bytes: Uint8Array, align = 8, global = true): SymbolDefinition {
    const s = this.section(section);
    s.align = Math.max(s.align, align);
    s.bytes.align(align);
    const symbol = this.define(name, section, { size: bytes.length, kind: "object", global });
    s.bytes.bytes(bytes);
    return symbol;
  }

  /** A data object made of 8-byte words; a string is the address of a symbol ("name" or "name+8"). */
  words(name: string, section: string, words: readonly (bigint | number | string)[], align = 8, global = true): void {
    this.object(name, section, new Uint8Array(0), align, global).size = words.length * 8;
    for (const w of words) this.word(section, w);
  }

  /** Appends one 8-byte word to a section. */
  word(section: string, word: bigint | number | string): void {
    const s = this.section(section);
    if (typeof word === "string") {
      const { symbol, addend } = symbolPlus(word);
      s.relocations.push({ offset: s.bytes.length, kind: "abs64", symbol, addend });
    }
    s.bytes.u64(typeof word === "string" ? 0 : word);
  }

  /** Appends a 32-bit field that holds the distance from itself to the symbol. */
  relative(section: string, symbol: string, addend = 0): void {
    const s = this.section(section);
    s.relocations.push({ offset: s.bytes.length, kind: "pc32", symbol, addend });
    s.bytes.u32(0);
  }

  /** A name for a place inside a section, for table entries that point there. */
  place(section: string, offset: number): string {
    this.section(section);
    return `@${section}:${offset}`;
  }
}

/** "name+0x10" → name and addend. */
export function symbolPlus(text: string): { symbol: string; addend: number } {
  const plus = text.lastIndexOf("+");
  return plus < 0 ? { symbol: text, addend: 0 } : { symbol: text.slice(0, plus), addend: Number(text.slice(plus + 1)) };
}

/** The section and offset of a name made by `Unit.place`. */
export function placeOf(symbol: string): { section: string; offset: number } | undefined {
  const place = /^@(.*):(\d+)$/.exec(symbol);
  return place ? { section: place[1], offset: Number(place[2]) } : undefined;
}
