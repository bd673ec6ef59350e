// Puts the 3.0 core together and links it. It is not relocated at boot: memory holds it at its build address.
import { type LinkedCore, linkCore } from "../object/link-core.ts";
import { sortTables } from "../object/sort-tables.ts";
import { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { type KallsymsEntry, writeKallsyms } from "../writers/kallsyms-writer.ts";
import { bootText } from "./code-boot.ts";
import { kernelText } from "./code-kernel.ts";
import { lockImplementations, rawSpinFunctions, ticketImplementations } from "./code-locks.ts";
import { eventChannels, xenBoot } from "./code-xen.ts";
import { kernelData } from "./data.ts";
import { KALLSYMS, SCRIPT } from "./script.ts";
import type { Story } from "./story.ts";

export const LINK_BASE = 0xffffffff81000000n;

function emit(types: CTypes, story: Story): Unit {
  const unit = new Unit("vmlinux");
  // Ascending: three functions have fixed places.
  kernelText(unit, story);
  eventChannels(unit);
  bootText(unit);
  xenBoot(unit, story);
  lockImplementations(unit, story);
  ticketImplementations(unit, story);
  rawSpinFunctions(unit, story);
  kernelData(unit, types, story);
  unit.section(".brk", { flags: 3, type: 8 }).bytes.zeros(4096);
  return unit;
}

function entries(core: LinkedCore): KallsymsEntry[] {
  return [...core.symbols]
    .filter(([name]) => !name.startsWith("kallsyms_"))
    .map(([name, s]) => {
      const section = core.section(s.section);
      const letter = section.type === 8 ? "b" : section.flags & 4 ? "t" : section.flags & 1 ? "d" : "r";
      return { name, letter: s.global ? letter.toUpperCase() : letter, address: s.address };
    });
}

/** A first link makes room for the symbol table, whose size follows from the names; the second fills it. */
function addKallsyms(unit: Unit): void {
  const section = unit.section(KALLSYMS, { align: 8 });
  const draft = writeKallsyms(entries(linkCore(unit, SCRIPT, LINK_BASE)), LINK_BASE, "absolute-3.0");
  section.bytes.bytes(draft.bytes);
  for (const [name, offset] of draft.labels) unit.define(name, KALLSYMS, { offset });
  const table = writeKallsyms(entries(linkCore(unit, SCRIPT, LINK_BASE)), LINK_BASE, "absolute-3.0");
  section.bytes.patch(0, table.bytes);
}

export function buildCore(types: CTypes, story: Story): { readonly unit: Unit; readonly core: LinkedCore } {
  const unit = emit(types, story);
  addKallsyms(unit);
  const core = linkCore(unit, SCRIPT, LINK_BASE);
  sortTables(core);
  return { unit, core };
}
