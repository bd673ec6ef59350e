// Runs a witness again, move by move, and says whether everything happens as written and ends the same way: what makes
// a witness evidence rather than a story.

import { SharingChange } from "../machine/cells.ts";
import { type CodeContext, codeContext } from "../machine/code-context.ts";
import { Deadline, TimeUp } from "../machine/deadline.ts";
import { ForgettingFailed } from "../search/automaton.ts";
import { DEFAULT_BOUNDS, exploreFrom } from "../search/explorer.ts";
import { Model, maxSuccessors, sharedFromTheStart } from "../search/model.ts";
import type { Bounds, CpuEnd, System, Witness, WitnessStep } from "../types.ts";
import { badEnd } from "./prove.ts";
import { describeEnd, moveName, Narrator } from "./witness.ts";

export interface Replay {
  readonly ok: boolean;
  /** What went otherwise, when not ok. */
  readonly problem?: string;
  /** A bound was hit: whether it ends the same way is not known. */
  readonly undecided?: boolean;
  readonly steps: readonly WitnessStep[];
}

const UNDECIDED = "whether the end is a hang is not decided";

/** The part of a step that must come out the same; names and descriptions depend on who looks. */
function essence({ cpu, kind, address, instruction, lockBefore, lockAfter, storeBuffer }: WitnessStep): string {
  return JSON.stringify([cpu, kind, address, instruction, lockBefore, lockAfter, storeBuffer]);
}

/**
 * @param system the system the witness was found in, or one of equal content
 * @param bounds for showing that a hang is one: from its last state nothing may reach the end
 */
export function replay(system: System, witness: Witness, bounds: Bounds = {}): Replay {
  try {
    const result = replayIn(codeContext(system), system, witness, bounds);
    if (result.ok) return result;
  } catch (error) {
    if (!(error instanceof ForgettingFailed)) throw error;
  }
  // As the explorer: where a forgotten register made a difference, nothing is forgotten.
  return replayIn(codeContext(system, false), system, witness, bounds);
}

function replayIn(context: CodeContext, system: System, witness: Witness, bounds: Bounds): Replay {
  const start = performance.now();
  const allowed = { ...DEFAULT_BOUNDS, ...bounds };
  const deadline = new Deadline(start + allowed.seconds * 1000);
  const limits = { ...allowed, storeBuffer: witness.storeBufferEntries, deadline };
  const shared = new Set([...sharedFromTheStart(system), ...witness.shared.map(BigInt)]);
  const model = new Model(system, [...shared], limits, context);
  const narrator = new Narrator(model);
  const failed = (problem: string): Replay => ({ ok: false, problem, steps: narrator.steps });
  try {
    let row: Int32Array = model.initial();
    narrator.begin(row);
    const out = new Int32Array(maxSuccessors(model.cpus) * model.width);
    for (const [i, move] of witness.schedule.entries()) {
      if (deadline.isOver) throw new TimeUp();
      const count = model.successors(row, out);
      const labels = Array.from(model.labels.subarray(0, count));
      const index = labels.findIndex((label) => moveName(label) === move);
      if (index < 0)
        return failed(`move ${i} (${move}) is not possible there; possible: ${labels.map(moveName).join(" ")}`);
      const after = out.slice(index * model.width, (index + 1) * model.width);
      narrator.move(row, labels[index], after);
      row = after;
    }
    const at = witness.steps.findIndex(
      (step, i) => narrator.steps[i] === undefined || essence(step) !== essence(narrator.steps[i]),
    );
    if (at >= 0) return failed(`step ${at} is not the one written: ${essence(witness.steps[at])}`);
    if (witness.steps.length !== narrator.steps.length)
      return failed(`${narrator.steps.length} steps instead of ${witness.steps.length}`);
    const problem =
      endDiffers(describeEnd(model, row), witness.end) ?? endsOtherwise(model, row, witness, limits, start);
    if (problem === undefined) return { ok: true, steps: narrator.steps };
    return problem.includes(UNDECIDED) ? { ...failed(problem), undecided: true } : failed(problem);
  } catch (error) {
    if (error instanceof TimeUp)
      return { ...failed(`it takes longer than ${allowed.seconds} s: bound seconds`), undecided: true };
    if (!(error instanceof SharingChange)) throw error;
    return failed(`0x${error.address.toString(16)} is used by several CPUs, and the witness does not say so`);
  }
}

/** What of the CPUs' ends is not as it is written; undefined when all is. */
function endDiffers(real: readonly CpuEnd[], written: readonly CpuEnd[]): string | undefined {
  if (written.length !== real.length) return `the end of ${written.length} CPUs is written, ${real.length} run`;
  const essenceOf = ({ cpu, state, round, phase, address, cycle }: CpuEnd): string =>
    JSON.stringify([cpu, state, round, phase, address, cycle?.map((step) => [step.address, step.instruction])]);
  const at = real.findIndex((end, i) => essenceOf(end) !== essenceOf(written[i]));
  return at < 0 ? undefined : `CPU ${real[at].cpu} ends ${real[at].state} at ${real[at].address}, not as it is written`;
}

/** Why the last state is not what the witness's verdict claims; undefined when it is. */
function endsOtherwise(
  model: Model,
  row: Int32Array,
  witness: Witness,
  limits: Required<Bounds>,
  start: number,
): string | undefined {
  switch (witness.verdict) {
    case "two-holders":
      return model.holders(row) > 1 ? undefined : "no two CPUs hold the lock at the end";
    case "trap":
    case "unsupported":
      return model.faulted(row) >= 0 ? undefined : "no CPU is stopped at the end";
    case "bad-end": {
      const interrupts = model.faulted(row) >= 0;
      const bad = model.isFinished(row) && badEnd(model, row[model.width - 1]) !== undefined;
      return interrupts || bad ? undefined : "the end is as it should be";
    }
    case "hang": {
      const rest = exploreFrom(model, row, limits, {}, start);
      if (rest.bound !== undefined) return `${UNDECIDED}: bound ${rest.bound.name}`;
      return rest.finished.length === 0 ? undefined : "from the last state all CPUs can still finish";
    }
  }
}
