// Puts the core together: code, data, symbol table, then linked twice, at its build address for the image and at
// the address of this boot for memory.
import { hex } from "../bytes.ts";
import { type LinkedCore, linkCore } from "../object/link-core.ts";
import { sortTables } from "../object/sort-tables.ts";
import { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { type KallsymsEntry, writeKallsyms } from "../writers/kallsyms-writer.ts";
import { entryCode } from "./code-entry.ts";
import { initCode, kernelCode } from "./code-kernel.ts";
import { lockCode } from "./code-locks.ts";
import { paravirtCode, paravirtData } from "./code-paravirt.ts";
import { BUILD_ID, kernelData } from "./data.ts";
import { KALLSYMS, SCRIPT } from "./script.ts";

/** Where x86-64 kernels are linked: __START_KERNEL_map + 16 MiB. */
export const LINK_BASE = 0xffffffff81000000n;

export interface Core {
  readonly unit: Unit;
  /** as built */
  readonly built: LinkedCore;
  /** as loaded by this boot, before any patching */
  readonly loaded: LinkedCore;
}

/** nm's letter for a symbol, by the section that it lies in. */
export function letter(core: LinkedCore, name: string): string {
  const s = core.symbols.get(name)!;
  if (s.percpu) return "A";
  const section = core.section(s.section);
  const l = section.type === 8 ? "b" : section.flags & 4 ? "t" : section.flags & 1 ? "d" : "r";
  return s.global ? l.toUpperCase() : l;
}

/** The linked core's kallsyms entries. The table's own labels are not in it, as in a real kernel. */
export function kallsymsEntries(core: LinkedCore): KallsymsEntry[] {
  return [...core.symbols]
    .filter(([name]) => !name.startsWith("kallsyms_"))
    .map(([name, s]) => ({ name, letter: letter(core, name), address: s.address }));
}

export interface CoreOptions {
  /** function tracers are on */
  readonly tracing: boolean;
  /** a kprobe is set */
  readonly probed: boolean;
}

function emit(types: CTypes, options: CoreOptions): Unit {
  const unit = new Unit("vmlinux");
  entryCode(unit, options);
  lockCode(unit);
  kernelCode(unit, options);
  initCode(unit);
  paravirtCode(unit);
  paravirtData(unit);
  kernelData(unit, types, hex(BUILD_ID));
  unit.section(".brk", { flags: 3, type: 8 }).bytes.zeros(4096);
  return unit;
}

/**
 * The table's size follows from the names alone, so a first link with any addresses makes room for it, and a second
 * one fixes the addresses that go into it. Offsets count from _text, so both bases share one table.
 */
function addKallsyms(unit: Unit): void {
  unit.section(KALLSYMS, { align: 8 });
  const first = linkCore(unit, SCRIPT, LINK_BASE);
  // ORC_UNWIND_TABLE: one u32 for each 256 bytes of text and one more.
  const blocks = Math.ceil(first.section(".text").size / 256) + 1;
  unit.section(".orc_lookup", { flags: 3, type: 8, align: 4 }).bytes.zeros(blocks * 4);
  const draft = writeKallsyms(kallsymsEntries(first), LINK_BASE, "offsets-6.1");
  const section = unit.section(KALLSYMS);
  section.bytes.bytes(draft.bytes);
  for (const [name, offset] of draft.labels) unit.define(name, KALLSYMS, { offset });
  const entries = kallsymsEntries(linkCore(unit, SCRIPT, LINK_BASE));
  const table = writeKallsyms(entries, LINK_BASE, "offsets-6.1");
  section.bytes.patch(0, table.bytes);
  for (const offset of table.pointers) section.relocations.push({ offset, kind: "abs64", symbol: "_text", addend: 0 });
}

/** @param offset the KASLR offset of this boot */
export function buildCore(types: CTypes, offset: bigint, options: CoreOptions): Core {
  const unit = emit(types, options);
  addKallsyms(unit);
  const built = linkCore(unit, SCRIPT, LINK_BASE);
  const loaded = linkCore(unit, SCRIPT, LINK_BASE + offset);
  sortTables(built);
  sortTables(loaded);
  return { unit, built, loaded };
}
