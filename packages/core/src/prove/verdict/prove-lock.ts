// The whole question about a lock: first one CPU alone, then two, up to as many as are wanted, so that what is wrong
// shows on the fewest CPUs. All bounds are for the whole.
import { DEFAULT_BOUNDS } from "../search/explorer.ts";
import type { Proof, System } from "../types.ts";
import { type ProveOptions, prove } from "./prove.ts";
import { lockSystem, type Scenario } from "./scenario.ts";

export interface LockProof {
  /** The first verdict that is not "safe", or the last one. */
  readonly proof: Proof;
  /** The system of `proof`: for packing its witness. */
  readonly system: System;
  readonly rounds: number;
  /** All runs, by number of CPUs. */
  readonly runs: readonly Pick<Proof, "cpus" | "verdict" | "states" | "seconds">[];
  readonly states: number;
  readonly seconds: number;
  /** The code hangs on its own: this part ("lock" or "unlock") never returns although no other CPU interferes. */
  readonly neverReturns?: "lock" | "unlock";
}

/** Proves a lock scenario for 1, 2 … `scenario.cpus` CPUs. */
export function proveLock(scenario: Scenario, options: ProveOptions = {}): LockProof {
  const start = performance.now();
  const allowed = { ...DEFAULT_BOUNDS, ...options.bounds };
  const runs: Proof[] = [];
  let states = 0;
  for (let cpus = 1; ; cpus++) {
    const system = lockSystem({ ...scenario, cpus });
    const spent = (performance.now() - start) / 1000;
    const before = states;
    const proof = prove(system, {
      ...options,
      bounds: { ...allowed, states: allowed.states - states, seconds: allowed.seconds - spent },
      onProgress: (progress) =>
        options.onProgress?.({ states: before + progress.states, seconds: spent + progress.seconds }),
    });
    runs.push(proof);
    states += proof.states;
    if (proof.verdict === "safe" && cpus < scenario.cpus) continue;
    return {
      proof,
      system,
      rounds: scenario.rounds,
      runs: runs.map(({ cpus: n, verdict, states: s, seconds }) => ({ cpus: n, verdict, states: s, seconds })),
      states,
      seconds: (performance.now() - start) / 1000,
      neverReturns: neverReturns(proof),
    };
  }
}

/** On one CPU in its first round, nothing but the code itself keeps the CPU from coming on. */
function neverReturns(proof: Proof): "lock" | "unlock" | undefined {
  const end = proof.witness?.end;
  if (proof.verdict !== "hang" || end === undefined || end.length !== 1) return undefined;
  if (end[0].phase === 2) return "unlock";
  return end[0].round === 1 ? "lock" : undefined;
}
