// The specimen's two modules. "vellum" has a site of every mechanism in module text, per-CPU data and a static key of
// its own; "quire" is small and calls into vellum.
import { fn } from "../asm/function.ts";
import { callTo, concat, nops } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import { Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import { elfNote } from "../writers/notes.ts";
import { irqDisable, irqEnable } from "./code-locks.ts";
import { RELEASE } from "./data.ts";
import { FEATURE } from "./features.ts";
import { pvMember } from "./paravirt.ts";
import {
  alternative,
  bug,
  FTRACE,
  jumpLabel,
  mcount,
  paravirtCall,
  ret,
  retpoline,
  smpLock,
  staticCall,
} from "./sites.ts";

/** Sections that every .ko of a 6.1 build has, in its file order, so that the layout follows from it. */
const ORDER: readonly (readonly [string, object])[] = [
  [".note.gnu.build-id", { type: 7, align: 4 }],
  [".note.Linux", { type: 7, align: 4 }],
  [".text", { align: 16 }],
  [".init.text", { align: 16 }],
  [".exit.text", {}],
  [".static_call.text", { align: 4 }],
  [".altinstr_replacement", {}],
  [".parainstructions", { align: 8 }],
  [".altinstructions", {}],
  ["__mcount_loc", {}],
  [".rodata.str1.1", { flags: 0x32, entrySize: 1 }],
  [".smp_locks", { align: 4 }],
  [".rodata", { align: 32 }],
  [".modinfo", {}],
  [".retpoline_sites", {}],
  [".return_sites", {}],
  [".orc_unwind", {}],
  [".orc_unwind_ip", {}],
  ["__bug_table", { flags: 3, align: 8 }],
  ["__jump_table", { flags: 3, align: 8 }],
  [".data", { align: 32 }],
  [".static_call_sites", { flags: 3 }],
  [".data..percpu", { flags: 3, align: 8 }],
  [".gnu.linkonce.this_module", { align: 64 }],
  [".bss", { align: 32 }],
];

function begin(types: CTypes, name: string, buildId: Uint8Array): Unit {
  const unit = new Unit(name);
  for (const [section, options] of ORDER) unit.section(section, options);
  unit.section(".note.gnu.build-id").bytes.bytes(elfNote("GNU", 3, buildId));
  unit.section(".note.Linux").bytes.bytes(elfNote("Linux", 0x101, new Uint8Array(4)));
  const descriptor = ".gnu.linkonce.this_module";
  unit.object("__this_module", descriptor, new Uint8Array(types.sizeOf("struct module")), 64);
  const d = unit.section(descriptor);
  d.bytes.patch(types.offset("struct module", "name"), new TextEncoder().encode(name));
  for (const [member, symbol] of [
    ["init", "init_module"],
    ["exit", "cleanup_module"],
  ] as const)
    d.relocations.push({ offset: types.offset("struct module", member), kind: "abs64", symbol, addend: 0 });
  return unit;
}

/** Empty sections are not written by the assembler. */
function finish(unit: Unit, depends: string): Unit {
  const info = ["license=GPL", `description=specimen module ${unit.name}`, `depends=${depends}`, "retpoline=Y"];
  info.push("intree=Y", `name=${unit.name}`, `vermagic=${RELEASE} SMP preempt mod_unload modversions `);
  for (const line of info) unit.section(".modinfo").bytes.cstring(line);
  for (const s of [...unit.sections.values()]) if (s.bytes.length === 0) unit.sections.delete(s.name);
  return unit;
}

const AT_INIT = { section: ".init.text" };
const AT_EXIT = { section: ".exit.text" };

export function vellum(types: CTypes): Unit {
  const unit = begin(types, "vellum", hex("76656c6c756d0000000000000000000000000001"));
  unit.object("bug_file_name", ".rodata.str1.1", new TextEncoder().encode("specimen/vellum.c\0"), 1, false);
  unit.words("vellum_ops", ".rodata", ["vellum_open", "vellum_write"], 32);
  unit.words("vellum_key", ".data", [0n, 0n], 8, false);
  unit.object("vellum_lock", ".data", new Uint8Array(4), 4, false);
  unit.object("vellum_count", ".bss", new Uint8Array(8), 8);
  unit.object("vellum_hits", ".data..percpu", hex("0700000000000000"), 8, false);
  fn(unit, "vellum_open", [
    mcount({ to: "ftrace_caller", flags: FTRACE.ENABLED | 2n }),
    "push rbx",
    "mov rbx, rdi",
    "mov rdi, $vellum_lock",
    "call _raw_spin_lock_irq",
    jumpLabel({ key: "memcg_kmem_key", likely: false, target: ".charge", size: 2, built: "nop", now: "jmp" }),
    ".back:",
    smpLock("inc dword [rip+vellum_count]"),
    "inc qword gs:[rip+vellum_hits]",
    "mov rdi, $vellum_lock",
    "call _raw_spin_unlock_irq",
    staticCall({ name: "might_resched", kind: "call", now: "__static_call_return0", viaTrampoline: true }),
    "mov rax, [rbx+8]",
    retpoline("call", "rax"),
    "pop rbx",
    ret(),
    ".charge:",
    "inc dword [rip+vellum_count+4]",
    "jmp .back",
  ]);
  fn(unit, "vellum_write", [
    mcount(),
    irqDisable(),
    jumpLabel({ key: "vellum_key", likely: false, target: ".trace", size: 5, built: "nop", now: "jmp" }),
    ".back:",
    alternative(["nop", "nop", "nop"], [{ feature: FEATURE.SMAP, code: ["stac"] }], () => hex("0f01cb")),
    alternative(
      ["call clear_page_orig"],
      [
        { feature: FEATURE.REP_GOOD, code: ["call clear_page_rep"] },
        { feature: FEATURE.ERMS, code: ["call clear_page_erms"] },
      ],
      (m, at) => callTo(m, at, "clear_page_rep"),
    ),
    alternative(["mov ecx, 5"], [{ feature: FEATURE.XENPV, not: true, code: ["xor ecx, ecx"] }], () =>
      concat(hex("31c9"), nops(3)),
    ),
    irqEnable(),
    paravirtCall({ slot: "pv_ops.cpu.io_delay", index: pvMember("cpu.io_delay").index, to: "native_io_delay" }),
    paravirtCall({ slot: "pv_ops.mmu.exit_mmap", index: pvMember("mmu.exit_mmap").index, to: "nop" }),
    staticCall({ name: "tp_func_vfs_read", kind: "jmp", now: null, viaTrampoline: true }),
    (w) => w.bytes(new Uint8Array(130).fill(0xcc)),
    ".trace:",
    "lea rdi, [rip+vellum_ops]",
    staticCall({ name: "open_hook", kind: "call", now: "vfs_read", viaTrampoline: true }),
    "jmp near .back",
  ]);
  fn(unit, "vellum_take", [mcount(), "mov r11, [rdi]", retpoline("jmp", "r11"), bug(77)]);
  fn(unit, "init_module", [mcount(), "mov edi, 7", "call register_chrdev_region", irqDisable(), ret()], AT_INIT);
  fn(unit, "cleanup_module", ["mov edi, 7", "call unregister_chrdev_region", ret()], AT_EXIT);
  return finish(unit, "");
}

export function quire(types: CTypes): Unit {
  const unit = begin(types, "quire", hex("7175697265000000000000000000000000000002"));
  unit.object("quire_mutex", ".data", new Uint8Array(types.sizeOf("struct mutex")), 8, false);
  fn(unit, "quire_bind", [
    mcount(),
    "mov rdi, $quire_mutex",
    "call mutex_lock",
    "lea rdi, [rip+vellum_count]",
    "call vellum_take",
    "mov rdi, $quire_mutex",
    "call mutex_unlock",
    ret(),
  ]);
  fn(unit, "init_module", [mcount(), "xor eax, eax", ret()], AT_INIT);
  fn(unit, "cleanup_module", [ret()], AT_EXIT);
  return finish(unit, "vellum");
}
