// An image as its linker laid it out: sections by address, pointers in its data, functions by their start. All
// positions are KernelOffsets; whatever lies outside the kernel's 2 GiB (zero-based per-CPU data) does not exist here.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { KernelImage } from "../image/types.ts";
import type { SymbolTable } from "../symbols/types.ts";
import { imageSymbols } from "./image-symbols.ts";

export interface LinkSection {
  readonly name: string;
  readonly start: KernelOffset;
  readonly end: KernelOffset;
  /** Functions lie here. Data that shares an executable section (7.x marks .data so) makes it none. */
  readonly isCode: boolean;
  readonly writable: boolean;
  /** Empty for NOBITS: such words are zero. */
  readonly bytes: Uint8Array;
}

const SHF = { write: 1, alloc: 2, execute: 4 } as const;
const NOBITS = 8;
/** Several times the longest function of any kernel; what lies behind a section's last one is padding. */
const FUNCTION_MAX = 1 << 18;
/** Parts of functions elsewhere: replacements of instructions, and the branches of static_cpu_has() (4.6 and newer). */
const NO_FUNCTIONS = new Set([".altinstr_replacement", ".altinstr_aux"]);
const NO_BYTES = new Uint8Array();

/** Exported symbols, exception and bug tables, patch sites, unwind data. */
const INERT =
  /^(__ksymtab|___ksymtab|__ex_table|__bug_table|__mcount_loc|__kcrctab|__jump_table|_error_injection|_kprobe_blacklist|\.(orc|parainst|altinst|smp_locks|retpoline_s|return_s|call_s|ibt_endbr|notes))/;
/** The same where the linker merged them into larger sections; the ends are its symbols. */
const INERT_TABLES: readonly (readonly [string, string])[] = [
  ["__start___ksymtab", "__stop___ksymtab"],
  ["__start___ksymtab_gpl", "__stop___ksymtab_gpl"],
  ["__start___jump_table", "__stop___jump_table"],
  ["__start_mcount_loc", "__stop_mcount_loc"],
  ["__start_static_call_sites", "__stop_static_call_sites"],
  ["__start_kprobe_blacklist", "__stop_kprobe_blacklist"],
  ["__start_error_injection_whitelist", "__stop_error_injection_whitelist"],
  ["__start___ex_table", "__stop___ex_table"],
];

/** Called from user space, which a boot does not have before its last step. */
const SYSTEM_CALLS = ["sys_call_table", "ia32_sys_call_table", "x32_sys_call_table"];

export class LinkImage {
  private readonly places = new Map<readonly string[], ReadonlySet<KernelOffset>>();
  readonly symbols: SymbolTable;
  readonly symbolOrigin: string;
  readonly sections: readonly LinkSection[];
  /** Starts of functions, ascending; a function reaches to the next one's start or its section's end. */
  readonly functions: Int32Array;
  /** Data whose pointers tell where code is, for tools and tables, and that nobody calls through. */
  private readonly inert: { readonly start: KernelOffset; readonly end: KernelOffset }[] = [];

  constructor(readonly image: KernelImage) {
    const { table, origin, addressTable } = imageSymbols(image);
    this.symbols = table;
    this.symbolOrigin = origin;
    this.sections = linkSections(image);
    this.functions = functionStarts(table, this.sections);
    for (const { name, start, end } of this.sections) if (INERT.test(name)) this.inert.push({ start, end });
    const addresses = addressTable === undefined ? undefined : toKernelOffset(addressTable);
    if (addresses !== undefined) this.inert.push({ start: addresses, end: addresses + 8 * table.count });
    for (const [from, to] of INERT_TABLES) {
      const [start, end] = [this.find(from), this.find(to)];
      if (start !== undefined && end !== undefined && start < end) this.inert.push({ start, end });
    }
    for (const name of SYSTEM_CALLS) {
      const start = this.find(name);
      const size = start === undefined ? undefined : table.nearest(fromKernelOffset(start))?.size;
      if (start !== undefined && size !== undefined) this.inert.push({ start, end: start + size });
    }
  }

  isInert(offset: KernelOffset): boolean {
    return this.inert.some(({ start, end }) => offset >= start && offset < end);
  }

  /** The first inert place behind `offset`, which no variable that starts before it reaches into. */
  inertAfter(offset: KernelOffset): KernelOffset {
    return this.inert.reduce((least, { start }) => (start > offset && start < least ? start : least), 2 ** 31);
  }

  section(offset: KernelOffset): LinkSection | undefined {
    let low = 0;
    let high = this.sections.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const section = this.sections[middle];
      if (offset < section.start) high = middle - 1;
      else if (offset >= section.end) low = middle + 1;
      else return section;
    }
    return undefined;
  }

  /** Index of the function that covers the offset; -1 outside code. */
  functionAt(offset: KernelOffset): number {
    const { functions } = this;
    let low = 0;
    let high = functions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (functions[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return -1;
    const section = this.section(offset);
    return section?.isCode === true && functions[low - 1] >= section.start ? low - 1 : -1;
  }

  /** The function that starts exactly there; -1 when none does. */
  functionFrom(offset: KernelOffset): number {
    const index = this.functionAt(offset);
    return index >= 0 && this.functions[index] === offset ? index : -1;
  }

  functionEnd(index: number): KernelOffset {
    const start = this.functions[index];
    const end = Math.min(this.section(start)?.end ?? start, start + FUNCTION_MAX);
    return index + 1 < this.functions.length ? Math.min(end, this.functions[index + 1]) : end;
  }

  /** The pointer in the 8 bytes at `offset`; -1 for NULL, anything that is no kernel address, and what is not there. */
  pointer(offset: KernelOffset): KernelOffset {
    const section = this.section(offset);
    if (section === undefined) return -1;
    const { bytes } = section;
    const at = offset - section.start;
    if (at + 8 > bytes.length) return -1;
    if ((bytes[at + 4] & bytes[at + 5] & bytes[at + 6] & bytes[at + 7]) !== 0xff || bytes[at + 3] < 0x80) return -1;
    return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | ((bytes[at + 3] & 0x7f) << 24);
  }

  /** The place that a signed 32-bit distance at `offset` leads to (PREL32 tables); -1 when it is not there. */
  relative(offset: KernelOffset): KernelOffset {
    const section = this.section(offset);
    const at = offset - (section?.start ?? 0);
    if (section === undefined || at + 4 > section.bytes.length) return -1;
    const { bytes } = section;
    return offset + (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
  }

  /** Where a symbol lies; undefined when there is none in the kernel's 2 GiB. */
  find(name: string): KernelOffset | undefined {
    const symbol = this.symbols.lookup(name);
    return symbol && toKernelOffset(symbol.address);
  }

  /** Where those of the symbols lie that there are; looked up once for a list of names. */
  placesOf(names: readonly string[]): ReadonlySet<KernelOffset> {
    let found = this.places.get(names);
    if (found === undefined) {
      found = new Set(names.map((name) => this.find(name)).filter((at) => at !== undefined));
      this.places.set(names, found);
    }
    return found;
  }

  /** "xen_init_spinlocks", "smp_ops+0x8", or the address where no symbol is near. */
  name(offset: KernelOffset): string {
    const near = this.symbols.nearest(fromKernelOffset(offset));
    const from = near && toKernelOffset(near.symbol.address);
    // Where kallsyms has functions only, the symbol below a variable is one of other code, far away.
    if (near === undefined || from === undefined || from < (this.section(offset)?.start ?? 0)) {
      return `0x${fromKernelOffset(offset).toString(16)}`;
    }
    return near.offset === 0 ? near.symbol.name : `${near.symbol.name}+0x${near.offset.toString(16)}`;
  }

  functionName(index: number): string {
    return this.name(this.functions[index]);
  }
}

function linkSections({ elf }: KernelImage): LinkSection[] {
  const out: LinkSection[] = [];
  for (const section of elf.sections) {
    const start = toKernelOffset(section.address);
    if (start === undefined || (section.flags & SHF.alloc) === 0 || section.size === 0) continue;
    if (start + section.size > 2 ** 31) continue;
    out.push({
      name: section.name,
      start,
      end: start + section.size,
      isCode: (section.flags & (SHF.execute | SHF.write)) === SHF.execute && !NO_FUNCTIONS.has(section.name),
      writable: (section.flags & SHF.write) !== 0,
      bytes: section.type === NOBITS ? NO_BYTES : elf.bytes(section).slice(),
    });
  }
  return out.sort((a, b) => a.start - b.start);
}

/** Symbols in sections of code, and the starts of these. */
function functionStarts(symbols: SymbolTable, sections: readonly LinkSection[]): Int32Array {
  const code = sections.filter((section) => section.isCode);
  const starts = code.map((section) => section.start);
  let current = 0;
  for (const { address, type } of symbols.all()) {
    if (type !== "t" && type !== "T" && type !== "w" && type !== "W") continue;
    const offset = toKernelOffset(address);
    if (offset === undefined) continue;
    while (current < code.length && offset >= code[current].end) current++;
    if (current >= code.length) break;
    if (offset >= code[current].start) starts.push(offset);
  }
  return Int32Array.from(new Set(starts)).sort();
}
