// The core as this boot had it before any patching: the image's sections with the KASLR offset added as the boot
// code does it (handle_relocations() in arch/x86/boot/compressed/misc.c, 3.14 to 7.x): abs64 and abs32 entries get
// the offset added, inverse32 entries (per-CPU relative, gone since 6.15) get it subtracted.
import { KERNEL_MAP_BASE, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import { FormatError, MissingError } from "../bytes/errors.ts";
import { RangeIndex } from "../bytes/range-index.ts";
import type { KernelImage } from "../image/types.ts";
import type { SymbolTable } from "../symbols/types.ts";
import { entriesIn } from "./entries.ts";
import type { BuiltObject, BuiltSection } from "./object.ts";

const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;
const SHT_NOBITS = 8;

/** Sections that the kernel frees after boot: linked between __init_begin and __init_end. */
const INIT_TEXT = /^\.(init|exit)\.text$|^\.altinstr_(aux|replacement)$|^\.head\.text$/;

interface Placed {
  readonly section: ElfSection;
  /** link-time start */
  readonly link: KernelOffset;
}

export interface CoreOptions {
  /** Bytes that KASLR moved the kernel by: address in the dump − link-time address. */
  readonly kaslrOffset: number;
  /** Symbols of the dump (already moved). */
  readonly symbols: SymbolTable;
  /** False while init memory was not yet given back (a boot that hung early). */
  readonly initFreed: boolean;
}

export class BuiltCore implements BuiltObject {
  readonly name = "vmlinux";
  readonly path: string;
  readonly text: readonly BuiltSection[];
  readonly freed: readonly { readonly name: string; readonly size: number }[];
  private readonly placed: Placed[] = [];
  private readonly byName = new Map<string, Placed>();
  private readonly index: RangeIndex<Placed>;
  private readonly relocated = new Map<number, BuiltSection>();

  /** @throws MissingError when the kernel was moved and the image does not tell what moves with it */
  constructor(
    private readonly image: KernelImage,
    private readonly options: CoreOptions,
  ) {
    this.path = image.path;
    if (options.kaslrOffset !== 0 && image.relocations === undefined) {
      const moved = `this boot moved the kernel by 0x${options.kaslrOffset.toString(16)}`;
      throw new MissingError(
        `a usable relocation table of ${image.path}`,
        `${moved}, so what it built cannot be placed${image.relocationProblem === undefined ? "" : `: ${image.relocationProblem}`}`,
      );
    }
    for (const section of image.elf.sections) {
      const link = toKernelOffset(section.address);
      if ((section.flags & SHF_ALLOC) === 0 || section.type === SHT_NOBITS || link === undefined || section.size === 0)
        continue;
      const placed = { section, link };
      this.placed.push(placed);
      if (!this.byName.has(section.name)) this.byName.set(section.name, placed);
    }
    this.index = new RangeIndex(
      this.placed.map((placed) => ({ start: placed.link, length: placed.section.size, value: placed })),
    );
    // Each is copied whole: what claims more than the file holds would be copied many times over.
    const claimed = this.placed.reduce((sum, { section }) => sum + section.size, 0);
    if (claimed > image.elf.source.size) {
      throw new FormatError(
        `${image.path}: section headers`,
        `the loaded sections claim ${claimed} bytes of a file of ${image.elf.source.size}`,
      );
    }
    const text: BuiltSection[] = [];
    const freed: { name: string; size: number }[] = [];
    for (const placed of this.placed) {
      const { section } = placed;
      // .data carries SHF_EXECINSTR too since 7.2 (it holds .text..relocate_kernel), hence the test for W.
      if ((section.flags & SHF_EXECINSTR) === 0 || (section.flags & 1) !== 0) continue;
      if (INIT_TEXT.test(section.name) && this.options.initFreed && !this.insideText(section)) {
        freed.push({ name: section.name, size: section.size });
      } else {
        text.push(this.relocate(placed));
      }
    }
    this.text = text.sort((a, b) => a.start - b.start);
    this.freed = freed;
  }

  /** Sections such as .head.text may be linked inside _stext … _etext and then stay. */
  private insideText(section: ElfSection): boolean {
    const start = toKernelOffset(this.options.symbols.lookup("_stext")?.address ?? 0n);
    const end = toKernelOffset(this.options.symbols.lookup("_etext")?.address ?? 0n);
    const at = (toKernelOffset(section.address) ?? 0) + this.options.kaslrOffset;
    return start !== undefined && end !== undefined && at >= start && at < end;
  }

  sectionNames(): readonly string[] {
    return this.placed.map((p) => p.section.name);
  }

  section(name: string): BuiltSection | undefined {
    const placed = this.byName.get(name);
    return placed && this.relocate(placed);
  }

  at(offset: KernelOffset): BuiltSection | undefined {
    const placed = this.index.find(offset - this.options.kaslrOffset)?.value;
    return placed && this.relocate(placed);
  }

  between(startName: string, stopName: string): BuiltSection | undefined {
    const start = toKernelOffset(this.options.symbols.lookup(startName)?.address ?? 0n);
    const stop = toKernelOffset(this.options.symbols.lookup(stopName)?.address ?? 0n);
    if (start === undefined || stop === undefined || stop <= start) return undefined;
    const section = this.at(start);
    if (section === undefined) return undefined;
    const from = start - section.start;
    const to = stop - section.start;
    if (to > section.bytes.length) {
      throw new FormatError(
        `${this.path}: ${section.name}+0x${from.toString(16)}`,
        `${stopName} lies outside the section`,
      );
    }
    return { ...section, name: startName, start, bytes: section.bytes.subarray(from, to) };
  }

  private relocate({ section, link }: Placed): BuiltSection {
    const done = this.relocated.get(section.index);
    if (done) return done;
    const bytes = this.image.elf.bytes(section).slice();
    const delta = this.options.kaslrOffset;
    const relocations = this.image.relocations;
    if (relocations !== undefined && delta !== 0) {
      const shift = Number(KERNEL_MAP_BASE - relocations.base);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const end = bytes.length;
      const each = (entries: Int32Array, size: number, apply: (at: number) => void): void => {
        const from = link + shift;
        for (const entry of entriesIn(entries, from, from + end - size + 1)) apply(entry - from);
      };
      each(relocations.abs32, 4, (at) => view.setInt32(at, view.getInt32(at, true) + delta, true));
      each(relocations.inverse32, 4, (at) => view.setInt32(at, view.getInt32(at, true) - delta, true));
      each(relocations.abs64, 8, (at) => {
        // The value lies in the kernel's 2 GiB, so the carry out of the low word is rare but real.
        const low = view.getUint32(at, true) + delta;
        view.setUint32(at, low >>> 0, true);
        if (low > 0xffffffff) view.setUint32(at + 4, view.getUint32(at + 4, true) + 1, true);
        else if (low < 0) view.setUint32(at + 4, view.getUint32(at + 4, true) - 1, true);
      });
    }
    const built: BuiltSection = {
      name: section.name,
      start: link + delta,
      bytes,
      executable: (section.flags & SHF_EXECINSTR) !== 0,
      kept: !(
        this.options.initFreed &&
        /^\.init|^\.exit|^\.alt|^\.(para|smp|return|retpoline|call|ibt|cfi)/.test(section.name)
      ),
    };
    this.relocated.set(section.index, built);
    return built;
  }
}
