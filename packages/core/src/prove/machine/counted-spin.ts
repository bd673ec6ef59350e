// Spins that count: "for (i = SPIN_THRESHOLD; i; i--) if (lock is free) …; then sleep". Taken literally, every count is a
// state of its own. What such a loop can do, seen from outside, is: read any number of times, and give up at some time.
// So the third iteration that differs from the second only in registers moving by a constant becomes the second again,
// and beside it there is one way out: the last iteration before the loop does something else, found by running it to
// there. Loops around such loops ("every 256 spins look whether …") are cut in the same way, one level at a time.
import { LOAD, type LocalState, localKey, type SpinLength } from "./local-state.ts";
import type { Processor } from "./processor.ts";

/** What the model knows of one local state, for looking back along the way it was first reached. */
export interface History {
  state(id: number): LocalState;
  action(id: number): number;
  /** access id */
  operand(id: number): number;
  /** the state before, -1 at the start */
  parent(id: number): number;
  /** the value that the parent's load read, as a value id */
  parentValue(id: number): number;
  value(id: number): bigint;
  /** address of an access */
  place(access: number): bigint;
  /** The iterations left out between the parent and this state, where a counted spin was cut. */
  skipped(id: number): CountedSpin | undefined;
}

export interface Read {
  readonly access: number;
  /** value id */
  readonly value: number;
}

export interface CountedSpin {
  /** The earlier iteration that this one is taken for. */
  readonly head: number;
  /** The last iteration before the loop ends otherwise; undefined when it never does (an ever-growing statistic). */
  readonly last: LocalState | undefined;
  /** Iterations skipped on the way to `last`. */
  readonly iterations: number;
  /** What one iteration reads, in order. */
  readonly reads: readonly Read[];
}

const LOOK_BACK = 48;
const MAX_MOVING = 4;
const MAX_ITERATIONS = 1 << 16;
/** Reads of one iteration, with those of the loops inside it. */
const MAX_READS = 1 << 12;

/** Differences of the registers, or undefined when the states differ in more than that. */
function difference(from: LocalState, to: LocalState): bigint[] | undefined {
  if (from.rip !== to.rip || from.phase !== to.phase || from.position !== to.position) return undefined;
  if (from.memory.length !== to.memory.length) return undefined;
  if (from.memory.some(([cell, value], i) => to.memory[i][0] !== cell || to.memory[i][1] !== value)) return undefined;
  const out = Array.from(from.general, (value, i) => BigInt.asUintN(64, to.general[i] - value));
  const moving = out.filter((d) => d !== 0n).length;
  return moving > 0 && moving <= MAX_MOVING ? out : undefined;
}

const same = (a: readonly bigint[], b: readonly bigint[] | undefined): boolean =>
  b !== undefined && a.length === b.length && a.every((d, i) => d === b[i]);

/** The nearest earlier visit of the same load, with what was read from there on; undefined when other steps lie between. */
function visitBefore(
  history: History,
  id: number,
  like: LocalState,
  access: number,
): { id: number; reads: Read[] } | undefined {
  const reads: Read[] = [];
  let at = id;
  for (let steps = 0; steps < LOOK_BACK && at >= 0; steps++) {
    if (history.action(at) !== LOAD) return undefined;
    const { rip, phase, position } = history.state(at);
    if (rip === like.rip && phase === like.phase && position === like.position && history.operand(at) === access)
      return { id: at, reads: reads.reverse() };
    const parent = history.parent(at);
    if (parent < 0) return undefined;
    // Backwards: first what was left out on the way from the parent, then the parent's own read.
    const skipped = history.skipped(at);
    for (let n = 0; skipped !== undefined && n < skipped.iterations; n++) {
      if (reads.length + skipped.reads.length > MAX_READS) return undefined;
      reads.push(...skipped.reads.toReversed());
    }
    reads.push({ access: history.operand(parent), value: history.parentValue(at) });
    at = parent;
  }
  return undefined;
}

/**
 * Looks whether `next`, reached from `from` by reading `value`, is one more iteration of a counted spin.
 * @param access the access at which `next` stopped
 */
export function countedSpin(
  history: History,
  lengths: Map<string, SpinLength>,
  processor: Processor,
  from: number,
  value: number,
  next: LocalState,
  access: number,
): CountedSpin | undefined {
  const one = visitBefore(history, from, next, access);
  if (one === undefined) return undefined;
  const step = difference(history.state(one.id), next);
  if (step === undefined) return undefined;
  const parent = history.parent(one.id);
  const two = parent < 0 ? undefined : visitBefore(history, parent, next, access);
  if (two === undefined || !same(step, difference(history.state(two.id), history.state(one.id)))) return undefined;

  const reads = [...one.reads, { access: history.operand(from), value }];
  const values = reads.map((read) => history.value(read.value));
  const key = `${reads.map((read) => history.place(read.access)).join()}|${values.join()}|${localKey(next)}`;
  let run = lengths.get(key);
  if (run === undefined) {
    run = iterate(processor, next, step, reads, values);
    lengths.set(key, run);
  }
  const { iterations, flags } = run;
  if (iterations === 0) return undefined;
  const general = next.general.map((value, i) => value + step[i] * BigInt(iterations));
  const last = { ...next, general, flags, forgotten: undefined };
  return { head: one.id, last: iterations === MAX_ITERATIONS ? undefined : last, iterations, reads };
}

/** Runs on while every iteration moves the same by the same; the working state of the processor is lost. */
function iterate(
  processor: Processor,
  start: LocalState,
  step: readonly bigint[],
  reads: readonly Read[],
  values: readonly bigint[],
): SpinLength {
  const { registers } = processor;
  const expected = start.general.slice();
  let flags = start.flags;
  let iterations = 0;
  processor.restore(start);
  const stores = processor.privateStores;
  while (iterations < MAX_ITERATIONS) {
    let same = true;
    for (let i = 0; i < reads.length && same; i++) {
      const { stop } = processor.goOn(values[i]);
      same = stop.action === LOAD && stop.operand === reads[i + 1 === reads.length ? 0 : i + 1].access;
    }
    if (!same || registers.rip !== start.rip || processor.privateStores !== stores) break;
    processor.forgetDead();
    for (let i = 0; i < 16; i++) if (step[i] !== 0n) expected[i] += step[i];
    if (!expected.every((value, i) => registers.general[i] === value)) break;
    flags = registers.flags;
    iterations++;
  }
  return { iterations, flags };
}
