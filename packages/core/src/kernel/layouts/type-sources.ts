// Where a kernel's layouts come from: its own BTF, debug information that the user gives, and what the dump proves about
// itself. Given debug information is held against the dump before it is believed.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { FormatError, MissingError, PalimpsestError } from "../../bytes/errors.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import { openBtf } from "../../symbols/btf.ts";
import { discoverTypes } from "../../symbols/known-shapes/discover.ts";
import type { SymbolTable, TypeTable } from "../../symbols/types.ts";
import { LayeredTypes } from "./layered-types.ts";

/** What is known of a kernel before its layouts are. */
export interface TypesContext {
  readonly memory: VirtualMemory;
  readonly symbols: SymbolTable;
  /** GNU build-id, hex; "" and undefined where the dump does not tell */
  readonly buildId: string | undefined;
  readonly release: string;
  /** linux_banner */
  readonly version: string;
}

/** Layouts out of a file. */
export interface GivenTypes {
  readonly types: TypeTable;
  /** What ties the file to this dump ("build-id 5a21b59d…"); undefined when nothing does yet. */
  readonly proof?: string;
}

export interface KernelTypes {
  readonly types: TypeTable;
  readonly evidence: readonly string[];
}

/** Members whose place a dump can prove; the same names in every release that has them. */
const CHECKED: readonly (readonly [type: string, path: string])[] = [
  ["struct module", "list"],
  ["struct module", "name"],
  ["struct module", "module_core"],
  ["struct module", "core_layout.base"],
  ["struct module", "symtab"],
  ["struct module", "kallsyms"],
  ["struct module", "sect_attrs"],
  ["struct cpuinfo_x86", "x86_capability"],
  ["struct pv_lock_ops", "spin_unlock"],
  ["struct pv_mmu_ops", "set_fixmap"],
  ["struct pv_cpu_ops", "swapgs"],
];

/**
 * @param given what the user's --debug-info describes
 * @throws MissingError when nothing tells a single layout; FormatError when `given` describes another build
 */
export function openTypes(context: TypesContext, given: GivenTypes | undefined, problems: string[]): KernelTypes {
  const layers: TypeTable[] = [];
  const evidence: string[] = [];
  const btf = readBtf(context, problems);
  if (btf !== undefined) layers.push(btf);
  if (given !== undefined) {
    layers.push(given.types);
    evidence.push(`layouts: ${given.types.origin}${given.proof === undefined ? "" : ` (${given.proof})`}`);
  }
  if (btf === undefined) {
    const discovered = discoverTypes({ reader: context.memory, symbols: context.symbols });
    if (discovered !== undefined) {
      if (given !== undefined) holdAgainst(given, discovered.types, problems);
      layers.push(discovered.types);
      evidence.push(
        ...discovered.evidence.map((line) => `${given === undefined ? "layout" : "layout, by the dump"}: ${line}`),
      );
    }
  }
  if (layers.length === 0) {
    throw new MissingError(
      "the layout of this kernel's structures (it has no BTF, and the dump proves none)",
      "give a vmlinux or module with debug information with --debug-info",
    );
  }
  return { types: layers.length === 1 ? layers[0] : new LayeredTypes(layers), evidence };
}

/** A file without a build-id in common with the dump must at least agree with what the dump proves. */
function holdAgainst(given: GivenTypes, discovered: TypeTable, problems: string[]): void {
  for (const [type, path] of CHECKED) {
    const said = given.types.member(type, path)?.offset;
    const proved = discovered.member(type, path)?.offset;
    if (said === undefined || proved === undefined || said === proved) continue;
    const what = `${type}.${path} lies at +${said} there, at +${proved} by what the dump holds`;
    if (given.proof === undefined) throw new FormatError(given.types.origin, `it contradicts the dump: ${what}`);
    problems.push(`${given.types.origin}: ${what}; the file is believed (${given.proof})`);
  }
}

function readBtf({ memory, symbols }: TypesContext, problems: string[]): TypeTable | undefined {
  const start: VirtualAddress | undefined = symbols.lookup("__start_BTF")?.address;
  const stop = symbols.lookup("__stop_BTF")?.address;
  if (start === undefined || stop === undefined || stop <= start || stop - start > 64n << 20n) return undefined;
  try {
    return openBtf(memory.read(start, Number(stop - start)), "BTF in the dump");
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`BTF: ${error.message}`);
    return undefined;
  }
}
