// A loaded module's struct module in 3.0, and its sections as /sys/module shows them (kernel/module.c).
import type { Running } from "../machine/running.ts";
import type { LoadedModule, LoaderRules } from "../object/load-module.ts";
import type { Unit } from "../object/unit.ts";

const MODULE = "struct module";

/** Nothing becomes read-only after init yet, and kallsyms' type letters overwrite st_info. */
export const RULES: LoaderRules = { afterInit: /^$/, typesInInfo: true };

function sectionAttributes(r: Running, unit: Unit, loaded: LoadedModule): bigint {
  const ATTRS = "struct module_sect_attrs";
  const ATTR = "struct module_sect_attr";
  const listed = [...unit.sections.values()].filter((s) => s.flags & 2 && loaded.section(s.name) !== undefined);
  const at = r.memory.kmalloc(r.types.offset(ATTRS, "attrs") + listed.length * r.types.sizeOf(ATTR));
  r.memory.set(at, ATTRS, { "grp.name": r.memory.string("sections"), nsections: listed.length });
  listed.forEach((s, i) => {
    const name = r.memory.string(s.name);
    const entry = at + BigInt(r.types.offset(ATTRS, "attrs") + i * r.types.sizeOf(ATTR));
    r.memory.set(entry, ATTR, {
      "mattr.attr.name": name,
      "mattr.attr.mode": 0o444,
      "mattr.show": r.at("ftrace_stub"),
      name,
      address: loaded.section(s.name)!,
    });
  });
  return at;
}

/** Fills in the struct module. A module that is coming up still uses the symbol table of its init area. */
export function describeModule(r: Running, unit: Unit, loaded: LoadedModule, coming: boolean): bigint {
  const at = loaded.address("__this_module");
  const { base, initBase, layout } = loaded;
  const { coreSizes, initSizes, kallsyms, initKallsyms } = layout;
  const table = (name: string) => loaded.section(name) ?? 0n;
  const count = (name: string, size: number) => (unit.sections.get(name)?.bytes.length ?? 0) / size;
  const symbols = coming ? initKallsyms : kallsyms;
  const home = coming ? initBase : base;
  const list = (member: string) => at + BigInt(r.types.offset(MODULE, member));
  r.memory.set(list("mkobj"), "struct module_kobject", { "kobj.name": r.memory.string(unit.name), mod: at });
  for (const member of ["source_list", "target_list", "bug_list"]) r.memory.ring([list(member)]);
  r.memory.set(at, MODULE, {
    state: coming ? 1 : 0,
    name: unit.name,
    module_core: base,
    core_size: coreSizes.size,
    core_text_size: coreSizes.text,
    core_ro_size: coreSizes.readOnly,
    ...(coming
      ? {
          module_init: initBase,
          init_size: initSizes.size,
          init_text_size: initSizes.text,
          init_ro_size: initSizes.readOnly,
        }
      : {}),
    num_bugs: count("__bug_table", 12),
    bug_table: table("__bug_table"),
    symtab: home + BigInt(symbols.symtab),
    num_symtab: symbols.symbols.length,
    strtab: home + BigInt(symbols.strtab),
    core_symtab: base + BigInt(kallsyms.symtab),
    core_num_syms: kallsyms.symbols.length,
    core_strtab: base + BigInt(kallsyms.strtab),
    sect_attrs: sectionAttributes(r, unit, loaded),
    args: r.memory.string(""),
    jump_entries: table("__jump_table"),
    num_jump_entries: count("__jump_table", 24),
    ftrace_callsites: table("__mcount_loc"),
    num_ftrace_callsites: count("__mcount_loc", 8),
  });
  return at;
}
