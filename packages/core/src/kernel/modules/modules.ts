// The modules of the dump, from the kernel's own list: where each part of them lies and where each section was put.
// Which of the layouts a kernel has is told by the members of struct module.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { walkList } from "../layouts/lists.ts";
import { getU64 } from "../layouts/little-endian.ts";
import type { Structures } from "../layouts/structures.ts";
import { readSectionAddresses } from "./module-sections.ts";

/** "unknown": none of enum module_state */
export type ModuleState = "live" | "coming" | "going" | "unformed" | "unknown";
const STATES: readonly ModuleState[] = ["live", "coming", "going", "unformed"];

export interface ModuleRegion {
  /** "text", "data", "rodata", "ro_after_init", "init_text" …, or "core" and "init" where a kernel has one block for all */
  readonly kind: string;
  readonly base: VirtualAddress;
  readonly size: number;
}

export interface KernelModule {
  readonly name: string;
  /** Address of the struct module. */
  readonly address: VirtualAddress;
  readonly state: ModuleState;
  readonly regions: readonly ModuleRegion[];
  /** The executable part: MOD_TEXT since 6.4, the first text_size bytes of the core layout before. */
  readonly text: { readonly base: VirtualAddress; readonly size: number };
  /** Section name → address, from sect_attrs. The addresses of .init sections dangle after loading. */
  readonly sections: ReadonlyMap<string, VirtualAddress>;
  /** mod->percpu: base of .data..percpu, zero-based before 6.15 */
  readonly percpu: bigint;
  /** Elf64_Sym array, its count and strings, and since 5.2 a table of type letters. */
  readonly symtab?: {
    readonly symbols: VirtualAddress;
    readonly count: number;
    readonly strings: VirtualAddress;
    readonly types?: VirtualAddress;
  };
  readonly problems: readonly string[];
}

const MODULE = "struct module";
/** More than any kernel has; a list that goes on is cut and reported. */
const MAX_MODULES = 4096;
/** No module's part is larger; a claim above it is not believed. */
export const MAX_REGION = 256 << 20;

function readRegions(s: Structures, module: VirtualAddress): { regions: ModuleRegion[]; text: ModuleRegion } {
  const regions: ModuleRegion[] = [];
  const mem = s.find(MODULE, "mem");
  if (mem?.count !== undefined) {
    // struct module_memory mem[MOD_MEM_NUM_TYPES]: ac3b43283923, 6.4
    const kinds = s.types.enumerators("mod_mem_type");
    const names = ["text", "data", "rodata", "ro_after_init", "init_text", "init_data", "init_rodata"];
    const nameOf = new Map<number, string>(names.map((name, i) => [i, name]));
    for (const [name, value] of kinds ?? []) {
      if (name.startsWith("MOD_") && !/NUM_TYPES|INVALID/.test(name))
        nameOf.set(Number(value), name.slice(4).toLowerCase());
    }
    for (let i = 0; i < Math.min(mem.count, 32); i++) {
      const base = s.pointer(module, MODULE, `mem[${i}].base`);
      const size = s.number(module, MODULE, `mem[${i}].size`);
      if (base !== 0n && size > 0) regions.push({ kind: nameOf.get(i) ?? `mem${i}`, base, size });
    }
    const text = regions.find((region) => region.kind === "text");
    return { regions, text: text ?? { kind: "text", base: 0n as VirtualAddress, size: 0 } };
  }
  // struct module_layout core_layout: 7523e4dc5057, 4.5; before, module_core and core_text_size in struct module.
  const layout = s.has(MODULE, "core_layout.base");
  const base = s.pointer(module, MODULE, layout ? "core_layout.base" : "module_core");
  const size = s.number(module, MODULE, layout ? "core_layout.size" : "core_size");
  const textSize = s.number(module, MODULE, layout ? "core_layout.text_size" : "core_text_size");
  regions.push({ kind: "core", base, size });
  const init = s.pointer(module, MODULE, layout ? "init_layout.base" : "module_init");
  if (init !== 0n) {
    regions.push({
      kind: "init",
      base: init,
      size: s.number(module, MODULE, layout ? "init_layout.size" : "init_size"),
    });
  }
  return { regions, text: { kind: "text", base, size: textSize } };
}

function readSymtab(s: Structures, module: VirtualAddress): KernelModule["symtab"] {
  // struct mod_kallsyms: 8244062ef1e5, 4.5; typetab: 1c7651f43777, 5.2. Before, the fields lie in struct module.
  if (s.has(MODULE, "kallsyms")) {
    const table = s.pointer(module, MODULE, "kallsyms");
    if (table === 0n) return undefined;
    const type = "struct mod_kallsyms";
    return {
      symbols: s.pointer(table, type, "symtab"),
      count: s.number(table, type, "num_symtab"),
      strings: s.pointer(table, type, "strtab"),
      types: s.has(type, "typetab") ? s.pointer(table, type, "typetab") : undefined,
    };
  }
  if (!s.has(MODULE, "symtab")) return undefined;
  return {
    symbols: s.pointer(module, MODULE, "symtab"),
    count: s.number(module, MODULE, "num_symtab"),
    strings: s.pointer(module, MODULE, "strtab"),
  };
}

/** One struct module. @throws PalimpsestError when it cannot be read at all */
export function readModule(s: Structures, address: VirtualAddress): KernelModule {
  const problems: string[] = [];
  const name = s.text(address, MODULE, "name");
  const state = STATES[s.number(address, MODULE, "state")] ?? "unknown";
  const { regions, text } = readRegions(s, address);
  if (text.size > MAX_REGION) problems.push(`its text claims ${text.size} bytes, which is not believed`);
  const sections = readSectionAddresses(s, address, problems);
  const percpu = s.has(MODULE, "percpu") ? s.unsigned(address, MODULE, "percpu") : 0n;
  let symtab: KernelModule["symtab"];
  try {
    symtab = readSymtab(s, address);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`its symbol table: ${error.message}`);
  }
  return {
    name,
    address,
    state,
    regions,
    text: { base: text.base, size: text.size > MAX_REGION ? 0 : text.size },
    sections,
    percpu,
    symtab,
    problems,
  };
}

/**
 * All modules on the list `modules` (kernel/module/main.c). Entries that cannot be read are reported and left out.
 * @param unseen told of what keeps a module from being seen
 */
export function readModules(
  s: Structures,
  head: VirtualAddress | undefined,
  problems: string[],
  unseen: (what: string) => void = (what) => problems.push(what),
): KernelModule[] {
  if (head === undefined) {
    problems.push("the list `modules` has no symbol: modules are unknown");
    return [];
  }
  const list = s.find(MODULE, "list");
  if (list === undefined) {
    const first = s.memory.tryRead(head, 8);
    if (first !== undefined && getU64(first, 0) === head) return []; // none is loaded, so none can show its layout
    unseen(`struct module has no known layout (${s.types.origin}): modules are unknown`);
    return [];
  }
  const walk = walkList(s.memory, head, list.offset, MAX_MODULES);
  if (walk.problem) unseen(`the list of modules: ${walk.problem}`);
  const modules: KernelModule[] = [];
  for (const address of walk.entries) {
    try {
      const module = readModule(s, addressAdd(address, 0));
      for (const problem of module.problems) problems.push(`module ${module.name}: ${problem}`);
      modules.push(module);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      unseen(`the module at 0x${address.toString(16)}: ${error.message}`);
    }
  }
  return modules;
}
