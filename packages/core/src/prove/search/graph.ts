// Questions to the explored graph: from which states can the end still be reached, and in which sets of states does a
// run that cannot end finally go round.
import type { Exploration } from "./explorer.ts";

/**
 * 1 for every state from which all CPUs can still finish. States that were not expanded (a bound was hit) and states
 * with a fault count as such: nothing is said about what follows them. A state with 0 is a hang under every scheduler,
 * fair or not; one with 1 reaches the end under a fair one.
 */
export function canFinish(exploration: Exploration): Uint8Array {
  const { states, successors, starts, expanded, finished, model, violations } = exploration;
  const able = new Uint8Array(states.count);
  for (const state of finished) able[state] = 1;
  able.fill(1, expanded);
  const row = new Int32Array(model.width);
  // A CPU that stopped at an unknown instruction may have been about to let the others go on, so that these spin for nothing.
  const gaps = violations.some(({ kind }) => kind === "unsupported" || kind === "bound");
  for (let s = 0; s < expanded; s++) {
    if (!gaps && starts.get(s) !== starts.get(s + 1)) continue;
    states.read(s, row);
    if (model.faulted(row) >= 0) able[s] = 1;
  }
  // Successors mostly have higher numbers than their state, so that few sweeps from the end settle everything.
  for (let changed = true; changed; ) {
    changed = false;
    for (let s = expanded - 1; s >= 0; s--) {
      if (able[s] === 1) continue;
      const end = starts.get(s + 1);
      for (let e = starts.get(s); e < end; e++) {
        if (able[successors.get(e)] === 1) {
          able[s] = 1;
          changed = true;
          break;
        }
      }
    }
  }
  return able;
}

/**
 * The states in which a hang has arrived: those of the strongly connected components without a way out, among the
 * states that cannot finish. A sleeping deadlock is such a component of one state.
 * @param able canFinish's answer
 * @returns 1 for these states
 */
export function finalStates(exploration: Exploration, able: Uint8Array): Uint8Array {
  const { successors, starts, expanded } = exploration;
  const final = new Uint8Array(able.length);
  const order = new Int32Array(able.length).fill(-1);
  const low = new Int32Array(able.length);
  const component: number[] = [];
  const onStack = new Uint8Array(able.length);
  const path: number[] = [];
  const edge: number[] = [];
  let clock = 0;
  const enter = (s: number): void => {
    order[s] = low[s] = clock++;
    component.push(s);
    onStack[s] = 1;
    path.push(s);
    edge.push(starts.get(s));
  };
  // Tarjan's algorithm without recursion. A component is a trap when no edge leaves it: then no member's edge goes to
  // a finished component, which `leaves` records on the way.
  const leaves = new Uint8Array(able.length);
  for (let root = 0; root < expanded; root++) {
    if (able[root] === 1 || order[root] >= 0) continue;
    enter(root);
    while (path.length > 0) {
      const s = path[path.length - 1];
      const e = edge[edge.length - 1];
      if (e < starts.get(s + 1)) {
        edge[edge.length - 1]++;
        const t = successors.get(e);
        if (order[t] < 0) enter(t);
        else if (onStack[t] === 1) low[s] = Math.min(low[s], order[t]);
        else leaves[s] = 1;
        continue;
      }
      path.pop();
      edge.pop();
      const parent = path[path.length - 1];
      if (low[s] === order[s]) {
        const members = component.splice(component.lastIndexOf(s));
        const open = members.some((m) => leaves[m] === 1);
        for (const m of members) {
          onStack[m] = 0;
          if (!open) final[m] = 1;
        }
        if (parent !== undefined) leaves[parent] = 1;
      } else if (parent !== undefined) {
        low[parent] = Math.min(low[parent], low[s]);
      }
    }
  }
  return final;
}
