// Tables that the linker lays between two symbols: initcalls, boot parameters, drivers of early consoles. Each entry
// has a symbol of its own, so the ends come from the pair of names.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { LinkImage } from "./link-image.ts";

export interface LinkTable {
  readonly name: string;
  readonly start: KernelOffset;
  readonly end: KernelOffset;
  readonly isInitcalls: boolean;
}

/** Far above any table of the kernel. */
const TABLE_MAX = 1 << 20;
/** Ends of the parts of the initcall table: include/asm-generic/vmlinux.lds.h, every release. */
const INITCALLS = /^__(initcall\w*_start|early_initcall_end|initcall_end|(con|security)_initcall_(start|end))$/;

/** The tables by the address at which they start. */
export class LinkTables {
  private readonly initcalls: KernelOffset[] = [];
  private readonly names = new Map<KernelOffset, string>();
  private readonly cache = new Map<KernelOffset, LinkTable | undefined>();

  constructor(private readonly image: LinkImage) {
    for (const { name, address } of image.symbols.all()) {
      const offset = toKernelOffset(address);
      if (offset === undefined || !INITCALLS.test(name)) continue;
      if (!this.names.has(offset)) this.initcalls.push(offset);
      // Where one part ends the next one starts; the start's name says more.
      if (!name.endsWith("_end") || !this.names.has(offset)) this.names.set(offset, name);
    }
    this.initcalls.sort((a, b) => a - b);
  }

  /** The table that starts there; undefined when none does. */
  at(start: KernelOffset): LinkTable | undefined {
    if (!this.cache.has(start)) this.cache.set(start, this.find(start));
    return this.cache.get(start);
  }

  private find(start: KernelOffset): LinkTable | undefined {
    const part = this.initcalls.indexOf(start);
    if (part >= 0) {
      const end = this.initcalls[part + 1];
      if (end === undefined || end - start > TABLE_MAX) return undefined;
      return { name: this.names.get(start) ?? "initcalls", start, end, isInitcalls: true };
    }
    for (const { name } of this.image.symbols.at(fromKernelOffset(start))) {
      if (!name.startsWith("__")) continue; // a linker's name; `initrd` and `initrd_end` are two variables
      const ends = [`${name}_end`];
      if (name.endsWith("_start")) ends.push(`${name.slice(0, -6)}_end`);
      if (name.startsWith("__start_")) ends.push(`__stop_${name.slice(8)}`);
      for (const other of ends) {
        const end = this.image.find(other);
        if (end !== undefined && end > start && end - start <= TABLE_MAX)
          return { name, start, end, isInitcalls: false };
      }
    }
    return undefined;
  }

  /**
   * The functions of a table of initcalls: pointers up to 4.18, since then 32-bit distances where the architecture has
   * CONFIG_HAVE_ARCH_PREL32_RELOCATIONS (1b1eeca7e4c1).
   */
  functions({ start, end }: LinkTable): KernelOffset[] {
    const { image } = this;
    const pointers: KernelOffset[] = [];
    for (let at = start; at + 8 <= end; at += 8) pointers.push(image.pointer(at));
    if (pointers.every((target) => image.functionFrom(target) >= 0)) return pointers;
    const relative: KernelOffset[] = [];
    for (let at = start; at + 4 <= end; at += 4) relative.push(image.relative(at));
    return relative.filter((target) => image.functionFrom(target) >= 0);
  }
}
