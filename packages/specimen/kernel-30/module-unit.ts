// What every .ko of a 3.0 build has: its sections in file order, build-id, descriptor and module information. And a
// module that is up and has no part in the story.
import { hex } from "../bytes.ts";
import { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { elfNote } from "../writers/notes.ts";
import { framed, LEAVE } from "./code-locks.ts";
import { paravirtCall } from "./sites.ts";
import type { Story } from "./story.ts";

const ORDER: readonly (readonly [string, object])[] = [
  [".note.gnu.build-id", { type: 7, align: 4 }],
  [".text", { align: 16 }],
  [".exit.text", {}],
  [".init.text", {}],
  [".rodata.str1.1", { flags: 0x32, entrySize: 1 }],
  [".modinfo", {}],
  [".parainstructions", { align: 8 }],
  ["__mcount_loc", {}],
  [".smp_locks", { align: 4 }],
  ["__bug_table", { flags: 2, align: 8 }],
  [".data", { align: 32 }],
  ["__jump_table", { flags: 3, align: 8 }],
  [".gnu.linkonce.this_module", { align: 64 }],
  [".bss", { align: 32 }],
];

export function beginModule(types: CTypes, name: string, buildId: string): Unit {
  const unit = new Unit(name);
  for (const [section, options] of ORDER) unit.section(section, options);
  unit.section(".note.gnu.build-id").bytes.bytes(elfNote("GNU", 3, hex(buildId)));
  unit.object("__this_module", ".gnu.linkonce.this_module", new Uint8Array(types.sizeOf("struct module")), 64);
  const descriptor = unit.section(".gnu.linkonce.this_module");
  descriptor.bytes.patch(types.offset("struct module", "name"), new TextEncoder().encode(name));
  for (const [member, symbol] of [
    ["init", "init_module"],
    ["exit", "cleanup_module"],
  ] as const)
    descriptor.relocations.push({ offset: types.offset("struct module", member), kind: "abs64", symbol, addend: 0 });
  return unit;
}

/** Module information; sections without content are not written by the assembler. */
export function finishModule(unit: Unit, story: Story): Unit {
  for (const line of ["license=GPL", "srcversion=SPECIMEN", "depends=", `vermagic=${story.release} SMP mod_unload `])
    unit.section(".modinfo").bytes.cstring(line);
  for (const s of [...unit.sections.values()]) if (s.bytes.length === 0) unit.sections.delete(s.name);
  return unit;
}

export function parport(types: CTypes, story: Story): Unit {
  const unit = beginModule(types, "parport", "706172706f727400000000000000000000000099");
  unit.object("ports_registered", ".data", new Uint8Array(8), 8, false);
  framed(unit, "parport_register_port", ["inc qword [rip+ports_registered]", ...LEAVE]);
  framed(unit, "parport_irq_handler", [
    paravirtCall("pv_irq_ops.irq_disable"),
    "mov rax, [rip+ports_registered]",
    paravirtCall("pv_irq_ops.irq_enable"),
    ...LEAVE,
  ]);
  framed(unit, "init_module", ["call parport_register_port", "xor eax, eax", ...LEAVE], { section: ".init.text" });
  framed(unit, "cleanup_module", LEAVE, { section: ".exit.text" });
  return finishModule(unit, story);
}
