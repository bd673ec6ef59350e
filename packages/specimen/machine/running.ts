// What the parts of the state builder share: the loaded core, its memory, the machine, and helpers over them.

import type { LinkedCore } from "../object/link-core.ts";
import type { LoadedModule } from "../object/load-module.ts";
import type { Machine, Unit } from "../object/unit.ts";
import type { CTypes } from "../types/c-types.ts";
import type { MemoryImage } from "./memory-image.ts";

export interface RunningModule {
  readonly loaded: LoadedModule;
  /** address of its struct module */
  readonly descriptor: bigint;
  readonly unit: Unit;
  /** its init function has not returned: init sections are still there */
  readonly coming: boolean;
}

export interface Running {
  readonly types: CTypes;
  readonly unit: Unit;
  readonly core: LinkedCore;
  readonly memory: MemoryImage;
  readonly machine: Machine;
  readonly cpus: number;
  readonly features: ReadonlySet<number>;
  readonly modules: RunningModule[];
  /** added to a per-CPU address to get that CPU's copy */
  readonly perCpuOffset: readonly bigint[];
  /** address of a core symbol or mark */
  at(name: string): bigint;
}

/** Is the core address in memory that was given back after boot? */
export function isInitAddress(core: LinkedCore, address: bigint): boolean {
  return address >= core.address("__init_begin") && address < core.address("__init_end");
}

/** Writes a structure of the core by symbol name. */
export function setSymbol(
  r: Running,
  symbol: string,
  type: string,
  members: Readonly<Record<string, bigint | number | string | Uint8Array>>,
): void {
  r.memory.set(r.at(symbol), type, members);
}
