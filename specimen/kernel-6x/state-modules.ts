// Loads the modules: memory, struct module, sections as /sys/module shows them, per-CPU data, the list of modules.

import type { Running } from "../machine/running.ts";
import { type LoadedModule, layOutModule, loadModule } from "../object/load-module.ts";
import { type ModuleFile, writeModule } from "../object/module-file.ts";
import type { Unit } from "../object/unit.ts";

const MODULE = "struct module";

/** kernel/module/sysfs.c: one module_sect_attr for each allocated, non-empty section, the freed .init.text included. */
function sectionAttributes(r: Running, unit: Unit, loaded: LoadedModule): bigint {
  const ATTRS = "struct module_sect_attrs";
  const ATTR = "struct module_sect_attr";
  const listed = [...unit.sections.values()].filter((s) => s.flags & 2 && loaded.section(s.name) !== undefined);
  const size = r.types.offset(ATTRS, "attrs") + listed.length * r.types.sizeOf(ATTR);
  const at = r.memory.kmalloc(size);
  r.memory.set(at, ATTRS, { "grp.name": r.memory.string("sections"), nsections: listed.length });
  listed.forEach((s, i) => {
    const entry = at + BigInt(r.types.offset(ATTRS, "attrs") + i * r.types.sizeOf(ATTR));
    r.memory.set(entry, ATTR, {
      "battr.attr.name": r.memory.string(s.name),
      "battr.attr.mode": 0o400,
      "battr.size": 19,
      address: loaded.section(s.name)!,
    });
  });
  return at;
}

function descriptor(r: Running, unit: Unit, loaded: LoadedModule): bigint {
  const at = loaded.address("__this_module");
  const { layout, base } = loaded;
  const { coreSizes, kallsyms } = layout;
  const table = (name: string) => loaded.section(name) ?? 0n;
  const count = (name: string, size: number) => (unit.sections.get(name)?.bytes.length ?? 0) / size;
  const K = "struct mod_kallsyms";
  const core = at + BigInt(r.types.offset(MODULE, "core_kallsyms"));
  r.memory.set(core, K, {
    symtab: base + BigInt(kallsyms.symtab),
    num_symtab: kallsyms.count,
    strtab: base + BigInt(kallsyms.strtab),
    typetab: base + BigInt(kallsyms.typetab),
  });
  const mkobj = at + BigInt(r.types.offset(MODULE, "mkobj"));
  r.memory.set(mkobj, "struct module_kobject", { "kobj.name": r.memory.string(unit.name), mod: at });
  r.memory.set(at, MODULE, {
    state: 0,
    name: unit.name,
    build_id: unit.section(".note.gnu.build-id").bytes.take().slice(16, 36),
    "core_layout.base": base,
    "core_layout.size": coreSizes.size,
    "core_layout.text_size": coreSizes.text,
    "core_layout.ro_size": coreSizes.readOnly,
    "core_layout.ro_after_init_size": coreSizes.readOnlyAfterInit,
    "arch.num_orcs": count(".orc_unwind_ip", 4),
    "arch.orc_unwind_ip": table(".orc_unwind_ip"),
    "arch.orc_unwind": table(".orc_unwind"),
    num_bugs: count("__bug_table", 12),
    bug_table: table("__bug_table"),
    kallsyms: core,
    sect_attrs: sectionAttributes(r, unit, loaded),
    args: r.memory.string(""),
    percpu: loaded.percpu,
    percpu_size: unit.sections.get(".data..percpu")?.bytes.length ?? 0,
    jump_entries: table("__jump_table"),
    num_jump_entries: count("__jump_table", 16),
    ftrace_callsites: table("__mcount_loc"),
    num_ftrace_callsites: count("__mcount_loc", 8),
    static_call_sites: table(".static_call_sites"),
    num_static_call_sites: count(".static_call_sites", 8),
    "refcnt.counter": 1,
  });
  return at;
}

/**
 * Loads modules in the given order, each before the next, and hangs them into the list (newest first).
 * @param percpu per-CPU address of the first module's data
 * @returns the .ko files
 */
export function loadModules(r: Running, units: readonly Unit[], percpu: bigint): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let nextPercpu = percpu;
  for (const unit of units) {
    const file: ModuleFile = writeModule(unit);
    files.set(`${unit.name}.ko`, file.bytes);
    const layout = layOutModule(unit, file);
    const { text, readOnlyAfterInit, size } = layout.coreSizes;
    const base = r.memory.moduleAlloc(text, readOnlyAfterInit, size);
    const perCpuSize = unit.sections.get(".data..percpu")?.bytes.length ?? 0;
    const loaded = loadModule(unit, file, layout, {
      base,
      // The init area lay behind the module and is gone: its addresses survive in sect_attrs only.
      initBase: base + BigInt(size) + 0x8000n,
      percpu: perCpuSize ? nextPercpu : 0n,
      resolve: (symbol) => {
        for (const other of r.modules) if (other.unit.symbols.get(symbol)?.global) return other.loaded.address(symbol);
        return r.at(symbol);
      },
    });
    r.memory.write(base, loaded.core);
    if (perCpuSize) {
      const initial = unit.section(".data..percpu").bytes.take();
      for (const offset of r.perCpuOffset) r.memory.write(offset + nextPercpu, initial);
      nextPercpu += 64n;
    }
    r.modules.push({ loaded, unit, descriptor: descriptor(r, unit, loaded) });
  }
  const list = BigInt(r.types.offset(MODULE, "list"));
  r.memory.ring([r.at("modules"), ...[...r.modules].reverse().map((m) => m.descriptor + list)]);
  return files;
}
