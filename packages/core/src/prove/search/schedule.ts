// The easiest schedule to follow: of all ways to a set of states the one with the fewest switches between CPUs, and
// among these the one with the fewest steps.
import type { Exploration } from "./explorer.ts";
import { MOVES, maxSuccessors } from "./model.ts";

/** One transition of a schedule: label as the model gives it (cpu * MOVES + move), and the state it leads to. */
export interface Move {
  readonly label: number;
  readonly state: number;
}

export interface Schedule {
  readonly moves: readonly Move[];
  readonly switches: number;
}

/**
 * @param isTarget asked for every explored state on the way
 * @returns undefined when no target can be reached
 */
export function shortestSchedule(exploration: Exploration, isTarget: (state: number) => boolean): Schedule | undefined {
  const { model, states, successors, starts, expanded } = exploration;
  const { cpus, width } = model;
  const row = new Int32Array(width);
  const out = new Int32Array(maxSuccessors(cpus) * width);
  // A node is a state together with the CPU that acted last; node = state * cpus + cpu.
  const nodes = states.count * cpus;
  const seen = new Uint8Array(nodes);
  const from = new Int32Array(nodes).fill(-1);
  const steps = new Int32Array(nodes);
  const cost = new Int32Array(nodes);
  let level: number[] = [];
  for (let cpu = 0; cpu < cpus; cpu++) level.push(cpu);
  if (isTarget(0)) return { moves: [], switches: 0 };

  for (let switches = 0; level.length > 0; switches++) {
    // Within a level only the same CPU goes on. Sources come with different step counts, hence the merge by steps.
    const sources = level.filter((node) => seen[node] === 0).sort((a, b) => steps[a] - steps[b]);
    const queue: number[] = [];
    const next: number[] = [];
    let q = 0;
    let s = 0;
    while (q < queue.length || s < sources.length) {
      const takeSource = q >= queue.length || (s < sources.length && steps[sources[s]] <= steps[queue[q]]);
      const node = takeSource ? sources[s++] : queue[q++];
      if (seen[node] === 1) continue;
      seen[node] = 1;
      const state = Math.floor(node / cpus);
      const cpu = node % cpus;
      if (isTarget(state)) return unwind(node, switches);
      if (state >= expanded) continue;
      states.read(state, row);
      const count = model.successors(row, out);
      const first = starts.get(state);
      for (let i = 0; i < count; i++) {
        const mover = Math.floor(model.labels[i] / MOVES);
        const target = successors.get(first + i) * cpus + mover;
        if (seen[target] === 1) continue;
        if (mover === cpu) {
          if (from[target] >= 0 && cost[target] === switches && steps[target] <= steps[node] + 1) continue;
          from[target] = node;
          steps[target] = steps[node] + 1;
          cost[target] = switches;
          queue.push(target);
        } else {
          // The same state with the other CPU's turn: costs one switch, no step.
          const turn = state * cpus + mover;
          if (seen[turn] === 1) continue;
          if (from[turn] >= 0 && (cost[turn] <= switches || steps[turn] <= steps[node])) continue;
          from[turn] = node;
          steps[turn] = steps[node];
          cost[turn] = switches + 1;
          next.push(turn);
        }
      }
    }
    level = next;
  }
  return undefined;

  function unwind(end: number, switches: number): Schedule {
    const moves: Move[] = [];
    let node = end;
    while (from[node] >= 0) {
      const previous = from[node];
      const state = Math.floor(node / cpus);
      const before = Math.floor(previous / cpus);
      if (state !== before) {
        states.read(before, row);
        const count = model.successors(row, out);
        const first = starts.get(before);
        for (let i = 0; i < count; i++) {
          const mover = Math.floor(model.labels[i] / MOVES);
          if (successors.get(first + i) === state && mover === node % cpus) {
            moves.push({ label: model.labels[i], state });
            break;
          }
        }
      }
      node = previous;
    }
    return { moves: moves.reverse(), switches };
  }
}
