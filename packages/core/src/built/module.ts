// A module as its loader had it before any patching: the .ko's sections at the addresses that the dump's sect_attrs
// tell, relocated as apply_relocate_add() does (arch/x86/kernel/module.c). The per-CPU section is linked at
// mod->percpu, not at its own address (percpu_modalloc(), simplify_symbols() in kernel/module/main.c).
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import { FormatError, MissingError } from "../bytes/errors.ts";
import { type IndexedRange, RangeIndex } from "../bytes/range-index.ts";
import { R_X86_64, type Relocations, readRela, relaFor } from "../image/rela.ts";
import type { ModuleImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import { type ElfSymbols, readElfSymbols, SHN_ABS, SHN_UNDEF, STB } from "../symbols/elf-symbols.ts";
import { signedAddress } from "../symbols/sorted-symbols.ts";
import { exportedSymbol } from "./exports.ts";
import { livepatchRelas, livepatchState, livepatchSymbol, SHN_LIVEPATCH } from "./livepatch-rela.ts";
import { placementProblem, unplacedSections } from "./module-placement.ts";
import type { BuiltObject, BuiltSection, FileBytes, UnknownPlace } from "./object.ts";

const SHF_WRITE = 1;
const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;
const SHT_NOBITS = 8;
/** KERNEL_MAP_BASE as a signed number: addresses are handled as signed doubles here, exact for all that a kernel has. */
const BASE = -(2 ** 31);
const TWO32 = 2 ** 32;
const TYPE_NAMES: Readonly<Record<number, string>> = {
  [R_X86_64.R64]: "R_X86_64_64",
  [R_X86_64.PC32]: "R_X86_64_PC32",
  [R_X86_64.PLT32]: "R_X86_64_PLT32",
  [R_X86_64.R32]: "R_X86_64_32",
  [R_X86_64.R32S]: "R_X86_64_32S",
  [R_X86_64.PC64]: "R_X86_64_PC64",
};

/** Sections of the loader's init part (module_init_section()): freed after a module's init function. */
const isInit = (name: string): boolean => name.startsWith(".init");

export class BuiltModule implements BuiltObject {
  readonly name: string;
  readonly path: string;
  readonly text: readonly BuiltSection[];
  readonly freed: readonly { readonly name: string; readonly size: number }[];
  readonly unknownPlaces: UnknownPlace[] = [];
  /** Symbols that nothing in the dump defines, by their rows: their relocations stand as 0. */
  private readonly unresolved = new Set<number>();
  private readonly symbols: ElfSymbols;
  private readonly addresses = new Map<number, number>();
  private readonly done = new Map<number, BuiltSection>();
  private readonly read = new Map<number, Relocations | null>();
  private readonly values = new Map<number, number>();
  private readonly unplaced: ReadonlySet<number>;
  private places: RangeIndex<ElfSection> | undefined;

  /** @throws FormatError, TruncatedError (a broken .ko), MissingError (stripped of its symbols) */
  constructor(
    private readonly kernel: Kernel,
    private readonly module: KernelModule,
    private readonly image: ModuleImage,
  ) {
    this.name = module.name;
    this.path = image.path;
    const { elf } = image;
    const symbols = readElfSymbols(elf.source, elf.sections);
    if (symbols === undefined) throw new MissingError(`the symbol table of ${image.path}`);
    this.symbols = symbols;
    if (module.sections.size === 0) {
      // mod_sysfs_setup() records them late in loading, mod_sysfs_teardown() takes them back early in unloading.
      throw new MissingError(`the list of section addresses of ${module.name} (its state is "${module.state}")`);
    }
    const wrong = placementProblem(module, elf.sections, kernel.modules);
    if (wrong !== undefined) throw new FormatError(`the list of section addresses of ${module.name}`, wrong);
    this.unplaced = unplacedSections(module, elf.sections);
    for (const section of elf.sections) {
      if ((section.flags & SHF_ALLOC) === 0) continue;
      const address = module.sections.get(section.name);
      if (address !== undefined) this.addresses.set(section.index, signedAddress(address));
    }
    this.placeRest();
    const text: BuiltSection[] = [];
    const freed: { name: string; size: number }[] = [];
    for (const section of elf.sections) {
      if ((section.flags & (SHF_ALLOC | SHF_EXECINSTR)) !== (SHF_ALLOC | SHF_EXECINSTR) || section.size === 0) continue;
      this.needPlace(section.index);
      if (this.isKept(section)) {
        const built = this.section(section.name);
        if (built !== undefined) text.push(built);
      } else {
        freed.push({ name: section.name, size: section.size });
      }
    }
    text.sort((a, b) => a.start - b.start);
    this.text = [...text, ...this.padding(text)].sort((a, b) => a.start - b.start);
    this.freed = freed;
  }

  sectionNames(): readonly string[] {
    return this.image.elf.sections
      .filter((section) => (section.flags & SHF_ALLOC) !== 0)
      .map((section) => section.name);
  }

  section(name: string): BuiltSection | undefined {
    const section = this.image.elf.section(name);
    return section === undefined || section.type === SHT_NOBITS ? undefined : this.relocate(section);
  }

  between(): undefined {
    return undefined;
  }

  at(offset: KernelOffset): BuiltSection | undefined {
    const section = this.index().find(offset + BASE)?.value;
    return section && this.relocate(section);
  }

  /** Where the sections lie that memory holds. */
  private index(): RangeIndex<ElfSection> {
    if (this.places === undefined) {
      const ranges: IndexedRange<ElfSection>[] = [];
      for (const section of this.image.elf.sections) {
        const start = this.addresses.get(section.index);
        if (start === undefined || section.type === SHT_NOBITS) continue;
        if (isInit(section.name) && !this.isKept(section)) continue;
        ranges.push({ start, length: section.size, value: section });
      }
      this.places = new RangeIndex(ranges);
    }
    return this.places;
  }

  inFile(offset: KernelOffset, length: number): FileBytes | undefined {
    const built = this.at(offset);
    const section = built && this.image.elf.section(built.name);
    if (built === undefined || section === undefined) return undefined;
    const at = offset - built.start;
    return { section: section.name, offset: at, bytes: this.image.elf.bytes(section).subarray(at, at + length) };
  }

  relocationAt(offset: KernelOffset): { type: string; symbol: string; addend: number } | undefined {
    const built = this.at(offset);
    const section = built && this.image.elf.section(built.name);
    if (built === undefined || section === undefined) return undefined;
    const lists = [this.relocations(section)];
    for (const { section: from } of livepatchRelas(this.image.elf, section)) lists.push(readRela(this.image.elf, from));
    const at = offset - built.start;
    for (const rela of lists) {
      const i = rela?.offsets.indexOf(at) ?? -1;
      if (rela === undefined || i < 0) continue;
      const row = rela.symbols[i];
      const name = this.symbols.name(row) || (this.image.elf.sections[this.symbols.sections[row]]?.name ?? "");
      return {
        type: TYPE_NAMES[rela.types[i]] ?? `R_X86_64 type ${rela.types[i]}`,
        symbol: name,
        addend: rela.addends[i],
      };
    }
    return undefined;
  }

  /**
   * Sections without a recorded address. An empty one has symbols all the same (an empty lock_class_key in .bss): the
   * loader laid it behind the section before it of the same kind (layout_sections() in kernel/module/main.c). What
   * remains is put where nothing lies.
   */
  private placeRest(): void {
    let free = BASE;
    const ends = new Map<string, number>();
    for (const section of this.image.elf.sections) {
      if ((section.flags & SHF_ALLOC) === 0) continue;
      const kind = `${section.flags & (SHF_WRITE | SHF_EXECINSTR)}${isInit(section.name) ? " init" : ""}`;
      let address = this.addresses.get(section.index);
      if (address === undefined) {
        const align = Math.max(1, section.align);
        const end = ends.get(kind);
        if (section.size === 0 && end !== undefined) address = Math.ceil(end / align) * align;
        else {
          address = free;
          free += (section.size + 4095) & ~4095;
        }
        this.addresses.set(section.index, address);
      }
      ends.set(kind, address + section.size);
    }
  }

  /** @throws MissingError for a section whose address the kernel's list should have and does not */
  private needPlace(section: number): void {
    if (!this.unplaced.has(section)) return;
    const name = this.image.elf.sections[section]?.name;
    throw new MissingError(`${name} in the list of section addresses of ${this.name}`);
  }

  private isKept(section: ElfSection): boolean {
    const start = this.module.sections.get(section.name);
    if (start === undefined) return false;
    const inside = (base: bigint, size: number): boolean =>
      start >= base && start + BigInt(section.size) <= base + BigInt(size);
    if (inside(this.module.text.base, this.module.text.size) && !isInit(section.name)) return true;
    // While a module is being loaded its init part is still there.
    return (
      this.module.state === "coming" &&
      this.module.regions.some((region) => region.kind.startsWith("init") && inside(region.base, region.size))
    );
  }

  /** The loader zeroes a module's text area before it copies the sections: gaps and the tail must be zero. */
  private padding(text: readonly BuiltSection[]): BuiltSection[] {
    const base = toKernelOffset(this.module.text.base);
    if (base === undefined) return [];
    const out: BuiltSection[] = [];
    const end = base + this.module.text.size;
    let at = base;
    const gap = (to: number): void => {
      if (to > at) {
        out.push({ name: "(padding)", start: at, bytes: new Uint8Array(to - at), executable: true, kept: true });
      }
    };
    for (const section of text) {
      if (section.start < base || section.start >= end) continue;
      gap(section.start);
      at = Math.max(at, section.start + section.bytes.length);
    }
    gap(end);
    return out;
  }

  private relocations(section: ElfSection): Relocations | undefined {
    // Asked for byte by byte by `site`; reading tens of thousands of entries each time would be felt.
    let relocations = this.read.get(section.index);
    if (relocations === undefined) {
      const rela = relaFor(this.image.elf, section);
      relocations = rela === undefined ? null : readRela(this.image.elf, rela);
      this.read.set(section.index, relocations);
    }
    return relocations ?? undefined;
  }

  private relocate(section: ElfSection): BuiltSection {
    const known = this.done.get(section.index);
    if (known) return known;
    const start = this.addresses.get(section.index) ?? BASE;
    const bytes = this.image.elf.bytes(section).slice();
    const rela = this.relocations(section);
    if (rela !== undefined) this.applyRelocations(bytes, start, rela);
    this.applyLivepatch(section, bytes, start);
    const built: BuiltSection = {
      name: section.name,
      start: start - BASE,
      bytes,
      executable: (section.flags & SHF_EXECINSTR) !== 0,
      kept: !isInit(section.name) || this.isKept(section),
    };
    this.done.set(section.index, built);
    return built;
  }

  private applyRelocations(bytes: Uint8Array, start: number, rela: Relocations): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let i = 0; i < rela.count; i++) {
      const at = rela.offsets[i];
      const value = this.value(rela.symbols[i]) + rela.addends[i];
      if (this.unresolved.has(rela.symbols[i])) {
        const length = rela.types[i] === R_X86_64.R64 || rela.types[i] === R_X86_64.PC64 ? 8 : 4;
        this.unknownPlaces.push({ offset: start - BASE + at, length, symbol: this.symbols.name(rela.symbols[i]) });
      }
      switch (rela.types[i]) {
        case R_X86_64.PC32:
        case R_X86_64.PLT32:
          if (at + 4 <= bytes.length) view.setInt32(at, (value - start - at) | 0, true);
          break;
        case R_X86_64.R32:
        case R_X86_64.R32S:
          if (at + 4 <= bytes.length) view.setInt32(at, low32(value), true);
          break;
        case R_X86_64.R64:
          if (at + 8 <= bytes.length) put64(view, at, value);
          break;
        case R_X86_64.PC64:
          if (at + 8 <= bytes.length) put64(view, at, value - start - at);
          break;
      }
    }
  }

  /** Livepatch relocations come on top of the loader's, for each object that is there. */
  private applyLivepatch(section: ElfSection, bytes: Uint8Array, start: number): void {
    for (const { section: from, object } of livepatchRelas(this.image.elf, section)) {
      const state = livepatchState(this.kernel, object);
      if (state === "clear") continue;
      const rela = readRela(this.image.elf, from);
      if (state === "applied") this.applyRelocations(bytes, start, rela);
      else this.takeFound(bytes, start, rela);
    }
  }

  /** Targets whose moment cannot be told: what the dump holds is as good as any. */
  private takeFound(bytes: Uint8Array, start: number, rela: Relocations): void {
    for (let i = 0; i < rela.count; i++) {
      const at = rela.offsets[i];
      const size = rela.types[i] === R_X86_64.R64 || rela.types[i] === R_X86_64.PC64 ? 8 : 4;
      const found = this.kernel.memory.tryRead(fromKernelOffset(start - BASE + at), size);
      if (found !== undefined && at + size <= bytes.length) bytes.set(found, at);
    }
  }

  /** st_value after simplify_symbols(), as a signed number. */
  private value(row: number): number {
    let value = this.values.get(row);
    if (value === undefined) {
      value = this.resolve(row);
      this.values.set(row, value);
    }
    return value;
  }

  private resolve(row: number): number {
    const { symbols, image, module } = this;
    const section = symbols.sections[row];
    if (section === SHN_ABS) return symbols.values[row];
    if (section === SHN_LIVEPATCH) return this.known(row, livepatchSymbol(this.kernel, symbols.name(row)));
    if (section !== SHN_UNDEF) {
      const name = image.elf.sections[section]?.name;
      if (name === ".data..percpu") return signedAddress(module.percpu) + symbols.values[row];
      this.needPlace(section);
      return (this.addresses.get(section) ?? BASE) + symbols.values[row];
    }
    const name = symbols.name(row);
    if (name === "") return 0;
    return this.known(row, exportedSymbol(this.kernel, name, module.name));
  }

  private known(row: number, address: bigint | undefined): number {
    if (address !== undefined) return signedAddress(address);
    // A weak symbol that nobody defines is 0 for the loader too (simplify_symbols()).
    if (this.symbols.infos[row] >> 4 !== STB.weak) this.unresolved.add(row);
    return 0;
  }

  /** Address of one of the module's sections, for messages. */
  sectionAddress(name: string): bigint | undefined {
    const section = this.section(name);
    return section && fromKernelOffset(section.start);
  }
}

function low32(value: number): number {
  return (value - Math.floor(value / TWO32) * TWO32) | 0;
}

function put64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO32);
  view.setUint32(at, (value - high * TWO32) >>> 0, true);
  view.setInt32(at + 4, high, true);
}
