// Where the loader put each section of a module: /sys/module/NAME/sections, as the kernel keeps it in memory
// (struct module_sect_attrs, kernel/module/sysfs.c). Three layouts since 2.6.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Structures } from "../layouts/structures.ts";

const ATTRS = "struct module_sect_attrs";
const ATTR = "struct module_sect_attr";
const BIN = "struct bin_attribute";
/** The section count of an ELF file fits 16 bits; real modules have fewer than 200. */
const MAX_SECTIONS = 4096;

/** Section name → address. What cannot be read is told in `problems`; the rest stands. */
export function readSectionAddresses(
  s: Structures,
  module: VirtualAddress,
  problems: string[],
): ReadonlyMap<string, VirtualAddress> {
  const sections = new Map<string, VirtualAddress>();
  try {
    if (!s.has("struct module", "sect_attrs")) return sections;
    const attrs = s.pointer(module, "struct module", "sect_attrs");
    if (attrs === 0n) return sections;
    const first = addressAdd(attrs, s.offset(ATTRS, "attrs"));
    if (s.has(ATTR, "address")) {
      // {struct bin_attribute battr | struct module_attribute mattr + char *name; unsigned long address}
      const stride = s.size(ATTR);
      const nameAt = ["battr.attr.name", "name", "mattr.attr.name"].find((path) => s.has(ATTR, path));
      const count = s.number(attrs, ATTRS, "nsections");
      if (count > MAX_SECTIONS) problems.push(`its sect_attrs claim ${count} sections, which is not believed`);
      for (let i = 0; nameAt !== undefined && i < Math.min(count, MAX_SECTIONS); i++) {
        const entry = addressAdd(first, i * stride);
        const name = s.memory.cstring(s.pointer(entry, ATTR, nameAt), 128);
        sections.set(name, s.pointer(entry, ATTR, "address"));
      }
      return sections;
    }
    // Since 6.14 (d8959b947a8d "module: sysfs: Drop member 'module_sect_attr::address'"): an array of bin_attribute,
    // the address in `private`, ended by a NULL name.
    const stride = s.size(BIN);
    for (let i = 0; i < MAX_SECTIONS; i++) {
      const entry = addressAdd(first, i * stride);
      const nameAddress = s.pointer(entry, BIN, "attr.name");
      if (nameAddress === 0n) break;
      sections.set(s.memory.cstring(nameAddress, 128), s.pointer(entry, BIN, "private"));
    }
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`its section addresses: ${error.message}`);
  }
  return sections;
}
