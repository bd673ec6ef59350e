// Relocations of a livepatch module that the ordinary loader leaves alone: sections .klp.rela.OBJECT.SECTION, whose symbols
// .klp.sym.OBJECT.NAME,POSITION need not be exported. They are written once OBJECT is there (klp_write_section_relocs() in
// kernel/livepatch/core.c, since 4.7).
import { derived } from "../bytes/derived.ts";
import type { ElfSection } from "../bytes/elf.ts";
import type { ElfFile } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";

const SHT_RELA = 4;
/** st_shndx of a livepatch symbol. */
export const SHN_LIVEPATCH = 0xff20;

export interface LivepatchRela {
  readonly section: ElfSection;
  /** "vmlinux" or the module whose code the relocated section calls into */
  readonly object: string;
}

/** True for a relocation section that livepatch, not the loader, applies. */
export function isLivepatchRela(section: ElfSection): boolean {
  return section.type === SHT_RELA && section.name.startsWith(".klp.rela.");
}

/** The livepatch relocations of one section, in file order. */
export function livepatchRelas(elf: ElfFile, target: ElfSection): readonly LivepatchRela[] {
  return derived(elf, byTarget).get(target.index) ?? [];
}

/** Those of all targets: a module may have thousands of sections. */
function byTarget(elf: ElfFile): Map<number, LivepatchRela[]> {
  const all = new Map<number, LivepatchRela[]>();
  for (const section of elf.sections) {
    const object = isLivepatchRela(section) ? /^\.klp\.rela\.([^.]{1,55})/.exec(section.name)?.[1] : undefined;
    if (object === undefined) continue;
    const list = all.get(section.info);
    if (list === undefined) all.set(section.info, [{ section, object }]);
    else list.push({ section, object });
  }
  return all;
}

/**
 * What stands at the targets of an object's relocations. "applied": the relocated values; "clear": as in the file, since
 * the object is not loaded; "unknown": it may be either, or what an unloaded object left behind (klp_clear_object_relocs()
 * came with 6.3).
 */
export function livepatchState(kernel: Kernel, object: string): "applied" | "clear" | "unknown" {
  if (object === "vmlinux") return "applied";
  const module = kernel.modules.find((each) => each.name === object);
  if (module?.state === "live") return "applied";
  if (module !== undefined) return "unknown";
  return kernel.find("klp_clear_object_relocs") === undefined ? "unknown" : "clear";
}

/**
 * Address of ".klp.sym.OBJECT.NAME,POSITION"; undefined when the dump has no such symbol.
 * POSITION counts symbols of that name in address order, from 1; 0 is for a name that is unique.
 */
export function livepatchSymbol(kernel: Kernel, name: string): bigint | undefined {
  const parts = /^\.klp\.sym\.([^.]{1,55})\.([^,]{1,511}),(\d{1,9})$/.exec(name);
  if (parts === null) return undefined;
  const [, object, symbol, position] = parts;
  const module = object === "vmlinux" ? undefined : object;
  const found = kernel.allSymbols.lookupAll(symbol).filter((each) => each.module === module);
  return found[Math.max(0, Number(position) - 1)]?.address;
}
