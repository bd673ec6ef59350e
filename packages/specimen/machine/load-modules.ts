// Loads modules one after the other: memory, per-CPU data, the list of modules. What a struct module looks like is the
// release's business and given by the caller.
import { type LoadedModule, type LoaderRules, layOutModule, loadModule } from "../object/load-module.ts";
import { writeModule } from "../object/module-file.ts";
import type { Unit } from "../object/unit.ts";
import type { Running } from "./running.ts";

export interface LoadingPlan {
  readonly rules: LoaderRules;
  /** per-CPU address of the first module's data */
  readonly percpu: bigint;
  /** fills in the struct module and tells its address */
  readonly describe: (r: Running, unit: Unit, loaded: LoadedModule, coming: boolean) => bigint;
  /** modules that have to lie at a given address; the others follow each other */
  readonly places?: ReadonlyMap<string, bigint>;
  /** modules that are still coming up: their init area is there */
  readonly coming?: readonly string[];
}

/**
 * Loads modules in the given order and hangs them into the list, newest first.
 * @returns the .ko files
 */
export function loadModules(r: Running, units: readonly Unit[], plan: LoadingPlan): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  let nextPercpu = plan.percpu;
  for (const unit of units) {
    const file = writeModule(unit);
    files.set(`${unit.name}.ko`, file.bytes);
    const layout = layOutModule(unit, file, plan.rules);
    const { text, readOnlyAfterInit, size } = layout.coreSizes;
    const base = r.memory.moduleAlloc(text, readOnlyAfterInit, size, plan.places?.get(unit.name));
    const { initSizes } = layout;
    const coming = plan.coming?.includes(unit.name) ?? false;
    // A module that has come up has no init area any more; its addresses survive in sect_attrs only.
    const initBase = coming
      ? r.memory.moduleAlloc(initSizes.text, initSizes.readOnly, initSizes.size)
      : base + BigInt(size) + 0x8000n;
    const perCpuSize = unit.sections.get(".data..percpu")?.bytes.length ?? 0;
    const percpu = perCpuSize ? nextPercpu : 0n;
    const resolve = (symbol: string): bigint => {
      for (const other of r.modules) if (other.unit.symbols.get(symbol)?.global) return other.loaded.address(symbol);
      return r.at(symbol);
    };
    const loaded = loadModule(unit, file, layout, { base, initBase, percpu, resolve }, plan.rules);
    r.memory.write(base, loaded.core);
    if (coming) r.memory.write(initBase, loaded.init);
    if (perCpuSize) {
      const initial = unit.section(".data..percpu").bytes.take();
      for (const offset of r.perCpuOffset) r.memory.write(BigInt.asUintN(64, offset + nextPercpu), initial);
      nextPercpu += 64n;
    }
    r.modules.push({ loaded, unit, coming, descriptor: plan.describe(r, unit, loaded, coming) });
  }
  const list = BigInt(r.types.offset("struct module", "list"));
  r.memory.ring([r.at("modules"), ...[...r.modules].reverse().map((m) => m.descriptor + list)]);
  return files;
}
