// Spins that count: "for (i = SPIN_THRESHOLD; i; i--) if (lock is free) …; then sleep". Taken literally, every count is a
// state of its own. What such a loop can do, seen from outside, is: read any number of times, and give up at some time.
// So the third iteration that differs from the second only in registers (or stack slots) moving by a constant becomes the
// second again, and beside it there is one way out: the last iteration before the loop does something else, found by
// running it to there.
import { LOAD, type LocalState } from "./local-state.ts";
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
  /** What every skipped iteration must read, in order; the first is the read that is being taken. */
  readonly reads: readonly Read[];
}

const LOOK_BACK = 48;
const MAX_MOVING = 4;
const MAX_ITERATIONS = 1 << 18;

/** Differences of everything that can count, or undefined when the states differ in more than that. */
function difference(from: LocalState, to: LocalState): bigint[] | undefined {
  if (from.rip !== to.rip || from.phase !== to.phase || from.position !== to.position) return undefined;
  if (from.memory.length !== to.memory.length) return undefined;
  const out: bigint[] = [];
  let moving = 0;
  for (let i = 0; i < 16; i++) {
    const d = BigInt.asUintN(64, to.general[i] - from.general[i]);
    if (d !== 0n) moving++;
    out.push(d);
  }
  for (const [i, [cell, value]] of from.memory.entries()) {
    const [other, now] = to.memory[i];
    if (other !== cell) return undefined;
    const d = BigInt.asUintN(64, now - value);
    if (d !== 0n) moving++;
    out.push(d);
  }
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
  let last = next;
  let iterations = 0;
  while (iterations < MAX_ITERATIONS) {
    const state = iterate(processor, last, reads, values);
    if (state === undefined || !same(step, difference(last, state))) break;
    last = state;
    iterations++;
  }
  if (iterations === 0) return undefined;
  return { head: one.id, last: iterations === MAX_ITERATIONS ? undefined : last, iterations, reads };
}

/** One iteration with the same values read; undefined when it does anything but these loads. */
function iterate(
  processor: Processor,
  from: LocalState,
  reads: readonly Read[],
  values: readonly bigint[],
): LocalState | undefined {
  let state = from;
  for (let i = 0; i < reads.length; i++) {
    const { stop } = processor.resume(state, values[i]);
    if (stop.action !== LOAD || stop.operand !== reads[(i + 1) % reads.length].access) return undefined;
    state = processor.snapshot();
  }
  return state;
}
