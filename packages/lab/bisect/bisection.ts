// Finds the first bad one of an ordered list by asking about as few as can be. Knows nothing of kernels: what was asked and
// answered is plain data, so that a search that was stopped goes on where it was.

/** `skip`: nothing could be learned of this one (emulation took every try away, the package is gone). */
export type Answer = "good" | "bad" | "skip";

export interface Search {
  /** How many there are. */
  readonly count: number;
  /** Index of one that is good, and of a later one that is bad. */
  readonly good: number;
  readonly bad: number;
  readonly answers: ReadonlyMap<number, Answer>;
}

export type Step =
  | { readonly kind: "ask"; readonly index: number; readonly left: number }
  /** `suspects` has more than one when what lies between could not be tried. */
  | { readonly kind: "found"; readonly lastGood: number; readonly suspects: readonly number[] }
  | { readonly kind: "contradiction"; readonly reason: string };

/** What to do next: the ends first, then the middle of what is open, or its neighbours when that one was skipped. */
export function nextStep({ count, good, bad, answers }: Search): Step {
  if (!(good >= 0 && bad < count && good < bad))
    return { kind: "contradiction", reason: "the good one has to come before the bad one" };
  for (const [index, wanted] of [
    [good, "good"],
    [bad, "bad"],
  ] as const) {
    const answer = answers.get(index);
    if (answer === undefined) return { kind: "ask", index, left: Math.ceil(Math.log2(bad - good)) + 1 };
    if (answer === "skip") return { kind: "contradiction", reason: `the ${wanted} end could not be tried` };
    if (answer !== wanted) return { kind: "contradiction", reason: `the ${wanted} end is ${answer}` };
  }
  let low = good;
  let high = bad;
  for (const [index, answer] of answers) {
    if (answer === "good" && index > low && index < high) low = index;
    if (answer === "bad" && index > low && index < high) high = index;
  }
  const open = range(low + 1, high).filter((index) => !answers.has(index));
  if (open.length === 0) return { kind: "found", lastGood: low, suspects: range(low + 1, high + 1) };
  const middle = (low + high) / 2;
  const index = open.reduce((best, each) => (Math.abs(each - middle) < Math.abs(best - middle) ? each : best));
  return { kind: "ask", index, left: Math.ceil(Math.log2(high - low)) };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
