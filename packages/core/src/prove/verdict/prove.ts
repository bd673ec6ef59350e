// The verdict on a system: explores all orders, reads the graph and, where something is wrong, tells the shortest
// witness. A bound that was hit never yields "safe".
import { formatAddress, virtualAddress } from "../../bytes/brand.ts";
import type { FaultKind } from "../machine/local-state.ts";
import { COUNTER } from "../machine/model-addresses.ts";
import { type Exploration, type ExploreOptions, explore, type Violation } from "../search/explorer.ts";
import { canFinish, finalStates } from "../search/graph.ts";
import type { Model } from "../search/model.ts";
import { shortestSchedule } from "../search/schedule.ts";
import type { LockWord, Proof, System, Verdict, Witness } from "../types.ts";
import { describeEnd, describeHang, hexBytes, lockBytes, moveName, Narrator } from "./witness.ts";

export type ProveOptions = Pick<ExploreOptions, "bounds" | "onProgress" | "plain">;

/** Does the word say that nobody has the lock? */
export function isFree(lock: LockWord, bytes: Uint8Array, initial: Uint8Array): boolean {
  const number = (b: Uint8Array): bigint => b.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  const kept = (b: Uint8Array): bigint => number(b) & ~(lock.ignoredBits ?? 0n);
  if (lock.free !== "halves-equal") return kept(bytes) === kept(initial);
  const half = BigInt(lock.length * 4);
  return kept(bytes) >> half === (kept(bytes) & ((1n << half) - 1n));
}

/** What is wrong with the memory of a state in which all CPUs have finished; undefined when nothing is. */
export function badEnd(model: Model, content: number): string | undefined {
  const { lock, programs } = model.system;
  if (lock !== undefined) {
    const bytes = lockBytes(model, content) as Uint8Array;
    const initial = lockBytes(model, model.memory.initial) as Uint8Array;
    if (!isFree(lock, bytes, initial))
      return `all CPUs have finished, and the lock word ${hexBytes(bytes)} is not free`;
  }
  const sections = programs.map((p) => p.rounds * p.phases.filter((phase) => phase.kind === "critical-section").length);
  const expected = sections.reduce((a, b) => a + b, 0);
  // How many trylocks succeed differs from order to order.
  const tries = programs.some((p) => p.phases.some((phase) => phase.kind === "run" && phase.entry.tries === true));
  if (expected === 0 || tries) return undefined;
  const counted = model.memory.peek(content, COUNTER, 8);
  return counted === BigInt(expected)
    ? undefined
    : `${expected} critical sections added one each, and the counter holds ${counted}: an update was lost`;
}

interface Found {
  readonly verdict: Witness["verdict"];
  readonly problem: string;
  isTarget(state: number): boolean;
}

/** What is wrong, worst first. */
function problemOf(exploration: Exploration): Found | undefined {
  const { model, states, violations } = exploration;
  const row = new Int32Array(model.width);
  const at = (state: number): Int32Array => {
    states.read(state, row);
    return row;
  };
  const of = (kind: Violation["kind"]): number => violations.find((v) => v.kind === kind)?.state ?? -1;
  if (of("two-holders") >= 0)
    return {
      verdict: "two-holders",
      problem: "two CPUs are between their lock's return and their unlock's call",
      isTarget: (state) => model.holders(at(state)) > 1,
    };
  const faultOf = (state: number) => model.faultOf(at(state)[model.faulted(row)]);
  const faulted = (kind: FaultKind, verdict: Witness["verdict"]): Found | undefined =>
    of(kind) < 0
      ? undefined
      : {
          verdict,
          problem: faultOf(of(kind))?.reason ?? "",
          isTarget: (state) => model.faulted(at(state)) >= 0 && faultOf(state)?.kind === kind,
        };
  const broken = faulted("trap", "trap") ?? faulted("interrupts", "bad-end");
  if (broken !== undefined) return broken;
  const able = canFinish(exploration);
  if (able.includes(0)) {
    const final = finalStates(exploration, able);
    return {
      verdict: "hang",
      problem: "from here no order of the CPUs' steps lets all of them finish",
      isTarget: (state) => final[state] === 1,
    };
  }
  const unknown = faulted("unsupported", "unsupported");
  if (unknown !== undefined) return unknown;
  const bad = of("bad-end");
  if (bad < 0) return undefined;
  return {
    verdict: "bad-end",
    problem: badEnd(model, at(bad)[model.width - 1]) ?? "",
    isTarget: (state) => model.isFinished(at(state)) && badEnd(model, row[model.width - 1]) !== undefined,
  };
}

/** Tells the shortest way to what was found. */
function tell(exploration: Exploration, found: Found): Witness | undefined {
  const { model, states } = exploration;
  const schedule = shortestSchedule(exploration, found.isTarget);
  if (schedule === undefined) return undefined;
  const narrator = new Narrator(model);
  let row = model.initial();
  narrator.begin(row);
  for (const { label, state } of schedule.moves) {
    const after = new Int32Array(model.width);
    states.read(state, after);
    narrator.move(row, label, after);
    row = after;
  }
  const end = describeEnd(model, row);
  return {
    verdict: found.verdict,
    problem: found.verdict === "hang" ? describeHang(end) : found.problem,
    contextSwitches: schedule.switches,
    steps: narrator.steps,
    end,
    schedule: schedule.moves.map(({ label }) => moveName(label)),
    shared: model.cells.sharedAddresses.map(formatAddress),
    storeBufferEntries: model.limits.storeBuffer,
  };
}

/** What the verdict rests on beyond the memory model, in plain words. */
function assumptionsOf(model: Model): string[] {
  const { system } = model;
  const out = Array.from(model.spinPlaces, ([address, iterations]) => {
    const name = system.symbol?.(virtualAddress(address)) ?? formatAddress(address);
    const end = iterations === "endless" ? "never ends by its count" : `may end at any time (it counts ${iterations})`;
    return `the spin at ${name} ${end}`;
  });
  if (model.bufferFilled) out.push(`store buffers hold ${model.limits.storeBuffer} entries; some orders fill one`);
  if (system.environment?.spuriousWakeups === true) out.push("sleeping CPUs may wake without a kick");
  return out;
}

/**
 * Runs every order of the CPUs' steps and judges.
 * @throws nothing of the code under proof: what it cannot execute makes the verdict "unsupported" with the place
 */
export function prove(system: System, options: ProveOptions = {}): Proof {
  const exploration = explore(system, {
    ...options,
    isGoodEnd: (model, row) => badEnd(model, row[model.width - 1]) === undefined,
  });
  const { bound, model } = exploration;
  const found = problemOf(exploration);
  const verdict: Verdict = found?.verdict ?? (bound === undefined ? "safe" : "not-proven");
  const witness = found && tell(exploration, found);
  return {
    verdict,
    bound: found === undefined ? bound : undefined,
    reason: witness?.problem ?? found?.problem,
    cpus: model.cpus,
    states: exploration.states.count,
    transitions: exploration.transitions,
    seconds: exploration.seconds,
    memoryBytes: exploration.bytes,
    witness,
    assumptions: assumptionsOf(model),
  };
}
