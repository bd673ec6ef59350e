// A loaded module's struct module, and its sections as /sys/module shows them.

import type { Running } from "../machine/running.ts";
import type { LoadedModule, LoaderRules } from "../object/load-module.ts";
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

/** Which sections a 6.1 kernel write-protects once a module has come up, and where it keeps kallsyms' types. */
export const RULES: LoaderRules = { afterInit: /^(\.data\.\.ro_after_init|__jump_table)$/, typesInInfo: false };

/** Fills in the struct module. @returns its address */
export function describeModule(r: Running, unit: Unit, loaded: LoadedModule): bigint {
  const at = loaded.address("__this_module");
  const { layout, base } = loaded;
  const { coreSizes, kallsyms } = layout;
  const table = (name: string) => loaded.section(name) ?? 0n;
  const count = (name: string, size: number) => (unit.sections.get(name)?.bytes.length ?? 0) / size;
  const K = "struct mod_kallsyms";
  const core = at + BigInt(r.types.offset(MODULE, "core_kallsyms"));
  r.memory.set(core, K, {
    symtab: base + BigInt(kallsyms.symtab),
    num_symtab: kallsyms.symbols.length,
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
