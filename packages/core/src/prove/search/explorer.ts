// All states that the CPUs can reach, breadth first, with every successor kept: what the verdict is read from. Bounds
// are looked at every few thousand states; whichever is hit first is named.

import { SharingChange } from "../machine/cells.ts";
import { codeContext } from "../machine/code-context.ts";
import { Deadline, TimeUp } from "../machine/deadline.ts";
import type { FaultKind } from "../machine/local-state.ts";
import type { BoundName, Bounds, Progress, System } from "../types.ts";
import { FAULTED, FINISHED, ForgettingFailed, HOLDS } from "./automaton.ts";
import { Model, maxSuccessors, sharedFromTheStart } from "./model.ts";
import { IntList, StateSet } from "./state-set.ts";

export const DEFAULT_BOUNDS: Required<Bounds> = {
  states: 20_000_000,
  seconds: 300,
  memoryBytes: 1 << 30,
  localInstructions: 1_000_000,
  storeBuffer: 16,
};

/** A state that breaks a rule as soon as it is reached. */
export interface Violation {
  readonly kind: "two-holders" | "bad-end" | FaultKind;
  readonly state: number;
}

export interface Exploration {
  readonly model: Model;
  readonly states: StateSet;
  /** Successors of state s: successors[starts[s]] up to successors[starts[s + 1]]. */
  readonly successors: IntList;
  readonly starts: IntList;
  /** States below this number have been expanded. */
  readonly expanded: number;
  /** States in which all CPUs have finished. */
  readonly finished: readonly number[];
  readonly violations: readonly Violation[];
  readonly bound?: { readonly name: BoundName; readonly value: number };
  readonly seconds: number;
  readonly transitions: number;
  readonly bytes: number;
}

export interface ExploreOptions {
  readonly bounds?: Bounds;
  readonly onProgress?: (progress: Progress) => void;
  /** Tells whether a finished state is as it should be; default: all are. */
  isGoodEnd?(model: Model, row: Int32Array): boolean;
  /** Cells known to be shared, from an earlier exploration of the same system. */
  readonly shared?: readonly bigint[];
  /**
   * For systems that are small anyway: keeps every register instead of looking ahead what the code can still read, and walks
   * nowhere first. Less work before the first state, more states.
   */
  readonly plain?: boolean;
  /** Go on after a state with two holders (litmus tests and the verdict on the rest); default false. */
  readonly keepGoing?: boolean;
}

/** States between two looks at clock and memory, and between two words about progress. */
const LOOK_EVERY = 256;
const TELL_EVERY = 4096;
const MAX_SHARED_CELLS = 4096;
const WALKS = 8;
const WALK_STEPS = 2000;

/** Reaches all states. @throws whatever reading the code memory throws, except for absent memory (a fault of the CPU) */
export function explore(system: System, options: ExploreOptions = {}): Exploration {
  const bounds = { ...DEFAULT_BOUNDS, ...options.bounds };
  const shared = new Set([...sharedFromTheStart(system), ...(options.shared ?? [])]);
  const start = performance.now();
  let context = codeContext(system, !options.plain);
  let warm = options.plain === true;
  for (;;) {
    const deadline = new Deadline(start + bounds.seconds * 1000);
    const model = new Model(system, [...shared], { ...bounds, deadline }, context);
    try {
      // Walks at random first: they find most shared cells for the price of a few thousand steps.
      const enough = start + (bounds.seconds * 1000) / 4;
      for (let walk = 0; walk < WALKS && !warm; walk++) walkAtRandom(model, walk + 1, enough);
      warm = true;
      const found = exploreFrom(model, model.initial(), bounds, options, start);
      deadline.lift();
      return found;
    } catch (error) {
      if (error instanceof TimeUp) return unexplored(model, bounds, start);
      if (error instanceof ForgettingFailed) context = codeContext(system, false);
      else if (error instanceof SharingChange && shared.size < MAX_SHARED_CELLS) shared.add(error.address);
      else throw error;
    }
  }
}

/** What is known when the time was up before the first state was reached. */
function unexplored(model: Model, { seconds: value }: Required<Bounds>, start: number): Exploration {
  const starts = new IntList();
  starts.push(0);
  return {
    model,
    states: new StateSet(model.width),
    successors: new IntList(),
    starts,
    expanded: 0,
    finished: [],
    violations: [],
    bound: { name: "seconds", value },
    seconds: (performance.now() - start) / 1000,
    transitions: 0,
    bytes: model.bytes,
  };
}

function walkAtRandom(model: Model, seed: number, until: number): void {
  let row = model.initial();
  const out = new Int32Array(maxSuccessors(model.cpus) * model.width);
  let random = Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < WALK_STEPS && performance.now() < until; i++) {
    const count = model.successors(row, out);
    if (count === 0) return;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    const at = ((random >>> 0) % count) * model.width;
    row = out.slice(at, at + model.width);
  }
}

/** Several holders, a fault, or all CPUs at their end: worth looking into. One holder alone is not. */
function isSpecial(marks: number, cpus: number): boolean {
  return marks % FAULTED > HOLDS || (marks & (FINISHED - FAULTED)) !== 0 || marks >= FINISHED * cpus;
}

/**
 * Reaches all states from `first` on.
 * @param start performance.now() at the beginning, for the bound on seconds
 * @throws SharingChange when a CPU touches another's memory that the model does not know to be shared
 */
export function exploreFrom(
  model: Model,
  first: Int32Array,
  bounds: Required<Bounds>,
  options: ExploreOptions,
  start: number,
): Exploration {
  const { width } = model;
  const states = new StateSet(width);
  const successors = new IntList();
  const starts = new IntList();
  const finished: number[] = [];
  const violations: Violation[] = [];
  const seen = new Set<Violation["kind"]>();
  const row = new Int32Array(width);
  const out = new Int32Array(maxSuccessors(model.cpus) * width);
  let transitions = 0;
  let expanded = 0;
  let bound: Exploration["bound"];
  let stop = false;

  const violate = (kind: Violation["kind"], state: number): void => {
    if (!seen.has(kind)) violations.push({ kind, state });
    seen.add(kind);
    // Behind an unknown instruction of one CPU the others may still show what is wrong.
    if (!options.keepGoing && kind !== "bad-end" && kind !== "unsupported") stop = true;
  };
  const inspect = (state: number, at: Int32Array): void => {
    if (model.holders(at) > 1) violate("two-holders", state);
    const faulted = model.faulted(at);
    if (faulted >= 0) {
      const kind = model.faultOf(at[faulted])?.kind ?? "unsupported";
      if (kind === "bound") bound ??= { name: "localInstructions", value: bounds.localInstructions };
      violate(kind, state);
    }
    if (model.isFinished(at)) {
      finished.push(state);
      if (options.isGoodEnd !== undefined && !options.isGoodEnd(model, at)) violate("bad-end", state);
    }
  };
  // Verdict and witness later need: one byte and, for a hang, some integers a state.
  const others = (): number =>
    successors.bytes + starts.bytes + model.bytes + states.count * (1 + 4 * (model.cpus + 1));
  const bytes = (): number => states.bytes + others();
  const ahead = LOOK_EVERY * maxSuccessors(model.cpus);

  states.add(first, 0);
  inspect(0, first);
  while (expanded < states.count && !stop) {
    if (states.count >= bounds.states) {
      bound = { name: "states", value: bounds.states };
      break;
    }
    if (expanded % LOOK_EVERY === 0) {
      const seconds = (performance.now() - start) / 1000;
      if (expanded % TELL_EVERY === 0) options.onProgress?.({ states: states.count, seconds });
      const late = seconds > bounds.seconds;
      if (late || states.bytesWhileAdding(ahead) + others() > bounds.memoryBytes) {
        const name = late ? "seconds" : "memoryBytes";
        bound = { name, value: bounds[name] };
        break;
      }
    }
    states.read(expanded, row);
    const from = successors.length;
    let count: number;
    try {
      count = model.successors(row, out);
    } catch (error) {
      if (!(error instanceof TimeUp)) throw error;
      bound = { name: "seconds", value: bounds.seconds };
      break;
    }
    starts.push(from);
    transitions += count;
    for (let i = 0; i < count; i++) {
      const known = states.count;
      const id = states.add(out, i * width);
      successors.push(id);
      if (id !== known) continue;
      if (isSpecial(model.marks(out, i * width), model.cpus)) inspect(id, out.subarray(i * width, (i + 1) * width));
    }
    expanded++;
  }
  starts.push(successors.length);
  const seconds = (performance.now() - start) / 1000;
  return {
    model,
    states,
    successors,
    starts,
    expanded,
    finished,
    violations,
    bound,
    seconds,
    transitions,
    bytes: bytes(),
  };
}
