// What stays the same when an exploration starts again with another cell shared: the patched memory, the decoded code,
// what is live where, the environment.
import { Code } from "./decode.ts";
import { EnvironmentModel } from "./environment.ts";
import { Liveness } from "./liveness.ts";
import type { SpinLength } from "./local-state.ts";
import { PatchedMemory } from "./patched-memory.ts";
import type { CodeMemory, System } from "./types.ts";

export interface CodeContext {
  readonly memory: CodeMemory;
  readonly code: Code;
  readonly liveness: Liveness;
  readonly environment: EnvironmentModel;
  readonly spins: Map<string, SpinLength>;
}

export function codeContext(system: System): CodeContext {
  const memory = new PatchedMemory(system.memory, system.presets ?? []);
  const environment = new EnvironmentModel(system.environment ?? {}, system.programs.length);
  const phases = system.programs.flatMap((program) => program.phases);
  const ends = new Set(phases.flatMap((phase) => (phase.kind === "run" ? (phase.entry.stopAt ?? []) : [])));
  const liveness = new Liveness(memory, (address) => ends.has(address) || environment.isHooked(address));
  return { memory, code: new Code(memory), liveness, environment, spins: new Map() };
}
