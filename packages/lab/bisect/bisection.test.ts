import { describe, expect, it } from "vitest";
import { type Answer, nextStep } from "./bisection.ts";

/** Searches with a teller of answers; what was asked, and how it ended. */
function search(count: number, tell: (index: number) => Answer, known: readonly (readonly [number, Answer])[] = []) {
  const answers = new Map<number, Answer>(known);
  const asked: number[] = [];
  for (let turn = 0; turn < 2 * count + 5; turn++) {
    const step = nextStep({ count, good: 0, bad: count - 1, answers });
    if (step.kind !== "ask") return { asked, step };
    expect(answers.has(step.index)).toBe(false);
    asked.push(step.index);
    answers.set(step.index, tell(step.index));
  }
  throw new Error("the search does not end");
}

describe("the search for the first bad one", () => {
  it("finds every first bad one of lists of every length, in few turns", () => {
    for (let count = 2; count <= 40; count++) {
      for (let first = 1; first < count; first++) {
        const { asked, step } = search(count, (index) => (index < first ? "good" : "bad"));
        expect(step).toEqual({ kind: "found", lastGood: first - 1, suspects: [first] });
        expect(asked.length).toBeLessThanOrEqual(Math.ceil(Math.log2(count)) + 3);
      }
    }
  });

  it("goes round what cannot be tried, and names all that it may be then", () => {
    const { step } = search(9, (index) => (index === 4 || index === 5 ? "skip" : index < 6 ? "good" : "bad"));
    expect(step).toEqual({ kind: "found", lastGood: 3, suspects: [4, 5, 6] });
    const lucky = search(9, (index) => (index === 4 ? "skip" : index < 7 ? "good" : "bad"));
    expect(lucky.step).toEqual({ kind: "found", lastGood: 6, suspects: [7] });
  });

  it("asks nothing again that it was told before it was stopped", () => {
    const { asked } = search(9, (index) => (index < 6 ? "good" : "bad"), [
      [0, "good"],
      [8, "bad"],
      [4, "good"],
    ]);
    expect(asked).toEqual([6, 5]);
  });

  it("says when the ends are not what they were said to be", () => {
    expect(search(4, () => "bad").step).toEqual({ kind: "contradiction", reason: "the good end is bad" });
    expect(search(4, () => "good").step).toEqual({ kind: "contradiction", reason: "the bad end is good" });
    expect(search(4, () => "skip").step).toEqual({ kind: "contradiction", reason: "the good end could not be tried" });
    const turned = nextStep({ count: 3, good: 2, bad: 0, answers: new Map() });
    expect(turned).toMatchObject({ kind: "contradiction", reason: /has to come before/ });
  });
});
