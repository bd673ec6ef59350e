// What stays the same when an exploration starts again with another cell shared: the patched memory, the decoded code,
// what is live where, the environment.

import { PatchedMemory } from "../dump/patched-memory.ts";
import type { CodeMemory, System } from "../types.ts";
import { Code } from "./decode.ts";
import { EnvironmentModel } from "./environment.ts";
import { ALL, NONE, ONLY_RAX } from "./live-code.ts";
import { Liveness } from "./liveness.ts";
import type { SpinLength } from "./local-state.ts";
import { RETURN_ADDRESS } from "./model-addresses.ts";

export interface CodeContext {
  readonly memory: CodeMemory;
  readonly code: Code;
  readonly liveness: Liveness;
  readonly environment: EnvironmentModel;
  readonly spins: Map<string, SpinLength>;
}

/** @param forget false: nothing is ever dead, every register is kept */
export function codeContext(system: System, forget = true): CodeContext {
  const memory = new PatchedMemory(system.memory, system.presets ?? []);
  const environment = new EnvironmentModel(system.environment ?? {}, system.programs.length);
  const runs = system.programs.flatMap((program) => program.phases).filter((phase) => phase.kind === "run");
  const stops = new Set(runs.flatMap((phase) => phase.entry.stopAt ?? []));
  const needsResult = runs.some(
    ({ entry }) => entry.tries === true || Object.values(entry.registers).includes("result"),
  );
  // Behind a function's return nothing of its registers matters but a result that the next entry asks for.
  const returned = system.keepRegisters === true ? ALL : needsResult ? ONLY_RAX : NONE;
  const liveness = new Liveness(memory, {
    endAt: (address) => {
      if (!forget) return ALL;
      if (address === RETURN_ADDRESS) return returned;
      return stops.has(address) || environment.isHooked(address) ? ALL : undefined;
    },
  });
  return { memory, code: new Code(memory), liveness, environment, spins: new Map() };
}
