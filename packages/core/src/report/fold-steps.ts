// The steps of a witness that matter: of each loop the last lap, and where a CPU's run is long, its beginning, its end and
// what changes the lock's word or leaves a store buffer.

export interface FoldableStep {
  readonly cpu: number;
  readonly kind: string;
  readonly address: string;
  readonly instruction: string;
  readonly lockBefore?: string;
  readonly lockAfter?: string;
  readonly storeBuffer?: readonly string[];
}

/** A step, or how many were left out there. */
export type Shown<T> = { readonly step: T } | { readonly laps: number; readonly steps: number };

const changes = (step: FoldableStep): boolean => step.kind === "drain" || step.lockBefore !== step.lockAfter;

/** Back to how many steps a lap is looked for. */
const LONGEST_LAP = 256;

/** All steps, of laps that a CPU runs one behind the other the last one only. */
export function foldLaps<T extends FoldableStep>(steps: readonly T[]): Shown<T>[] {
  const out: Shown<T>[] = [];
  let runStart = 0;
  for (const [i, step] of steps.entries()) {
    if (i > 0 && steps[i - 1].cpu !== step.cpu) runStart = out.length;
    const lap = lapBefore(out, runStart, step);
    if (lap >= 0) {
      const left = out.splice(lap);
      const before = out.at(-1);
      const earlier = before !== undefined && out.length > runStart && "laps" in before ? before : undefined;
      if (earlier !== undefined) out.pop();
      const count = left.filter((each) => "step" in each).length;
      out.push({ laps: (earlier?.laps ?? 0) + 1, steps: (earlier?.steps ?? 0) + count });
    }
    out.push({ step });
  }
  return out;
}

/** Where the lap began that ends in front of `step`; -1 when it begins none again, or the lap did something. */
function lapBefore<T extends FoldableStep>(out: readonly Shown<T>[], runStart: number, step: T): number {
  if (changes(step)) return -1;
  for (let k = out.length - 1; k >= Math.max(runStart, out.length - LONGEST_LAP); k--) {
    const each = out[k];
    if (!("step" in each) || changes(each.step)) return -1;
    if ((each.step.storeBuffer?.length ?? 0) !== (step.storeBuffer?.length ?? 0)) return -1;
    if (each.step.address === step.address && each.step.instruction === step.instruction) return k;
  }
  return -1;
}

/** Steps shown at the beginning and at the end of what one CPU does without another. */
const EDGE = 2;

/** Of the folded steps those at which CPUs take turns, a word changes or a loop is left. */
export function turningPoints<T extends FoldableStep>(steps: readonly T[]): Shown<T>[] {
  const folded = foldLaps(steps);
  const cpuAt = folded.map((each, i) => ("step" in each ? each.step.cpu : next(folded, i)));
  const out: Shown<T>[] = [];
  for (const [i, each] of folded.entries()) {
    let near = !("step" in each) || changes(each.step);
    for (let k = 1; k <= EDGE && !near; k++) near = cpuAt[i - k] !== cpuAt[i] || cpuAt[i + k] !== cpuAt[i];
    if (near) {
      out.push(each);
      continue;
    }
    const last = out.at(-1);
    if (last !== undefined && "laps" in last && last.laps === 0)
      out[out.length - 1] = { laps: 0, steps: last.steps + 1 };
    else out.push({ laps: 0, steps: 1 });
  }
  return out;
}

function next<T extends FoldableStep>(folded: readonly Shown<T>[], from: number): number {
  const found = folded.slice(from).find((each) => "step" in each);
  return found !== undefined && "step" in found ? found.step.cpu : -1;
}

/** "… 12 steps", "… 2,112 laps of the loop below before (21,120 steps)" */
export function foldedText({ laps, steps }: { readonly laps: number; readonly steps: number }): string {
  const count = (n: number, what: string): string => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;
  return laps === 0
    ? `… ${count(steps, "step")}`
    : `… ${count(laps, "lap")} of this loop before (${count(steps, "step")})`;
}
