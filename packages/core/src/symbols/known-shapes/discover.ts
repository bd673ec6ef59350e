// All that a dump proves about its own structures, as one TypeTable: for kernels that have no BTF and came without
// debug information. Nothing here goes by the kernel's version.
import type { TypeTable } from "../types.ts";
import { discoverCpuData } from "./cpu-data.ts";
import { discoverMutex } from "./lock-shapes.ts";
import { discoverLog } from "./log-shapes.ts";
import { discoverModuleLayout, listHead } from "./module-layout.ts";
import { discoverParavirt } from "./paravirt-shapes.ts";
import { type Discovered, type ShapeContext, symbolAddress } from "./peek.ts";
import { ShapeTypes, type StructShape } from "./shape-types.ts";
import { discoverTask } from "./task-shapes.ts";
import { discoverTracing } from "./tracing-shapes.ts";

export interface DiscoveredTypes {
  readonly types: TypeTable;
  /** What speaks for each layout, a line each. */
  readonly evidence: readonly string[];
}

/**
 * Layouts of struct module, module_sect_attrs, cpuinfo_x86, pv_*_ops, task_struct, mutex, the log and the records of ftrace and kprobes, as far as
 * this kernel has them and they prove themselves.
 * @returns undefined when nothing was found
 */
export function discoverTypes(context: ShapeContext): DiscoveredTypes | undefined {
  const head = symbolAddress(context.symbols, "modules");
  const smp = symbolAddress(context.symbols, "__per_cpu_offset") !== undefined;
  const found = [
    head === undefined ? undefined : discoverModuleLayout(context.reader, head, smp),
    discoverCpuData(context),
    discoverParavirt(context),
    discoverTracing(context),
    discoverTask(context),
    discoverMutex(context),
    discoverLog(context),
  ].filter((each): each is Discovered => each !== undefined);
  if (found.length === 0) return undefined;
  const shapes = new Map<string, StructShape>([[listHead.name, listHead]]);
  for (const { shapes: list } of found) for (const shape of list) shapes.set(shape.name, shape);
  return {
    types: new ShapeTypes("what the dump itself proves", [...shapes.values()]),
    evidence: found.flatMap((each) => each.evidence),
  };
}
