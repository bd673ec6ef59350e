// Witnesses folded: laps of loops, long runs, and what must never be left out.
import { expect, test } from "vitest";
import { type FoldableStep, foldedText, foldLaps, turningPoints } from "./fold-steps.ts";

const step = (cpu: number, address: number, lock = "00"): FoldableStep => ({
  cpu,
  kind: "instruction",
  address: `0x${address}`,
  instruction: `i${address}`,
  lockBefore: "00",
  lockAfter: lock,
});
const shown = (all: ReturnType<typeof foldLaps<FoldableStep>>): string[] =>
  all.map((each) => ("step" in each ? `${each.step.cpu}:${each.step.address}` : foldedText(each)));

test("of the laps of a loop the last one stays, and the others are counted", () => {
  const lap = [step(0, 1), step(0, 2), step(0, 3)];
  expect(shown(foldLaps([step(0, 0), ...lap, ...lap, ...lap, step(0, 4)]))).toEqual([
    "0:0x0",
    "… 2 laps of this loop before (6 steps)",
    "0:0x1",
    "0:0x2",
    "0:0x3",
    "0:0x4",
  ]);
});

test("a lap that changes the lock's word is no repetition, nor is one that another CPU interrupts", () => {
  expect(shown(foldLaps([step(0, 1), step(0, 2, "01"), step(0, 1), step(0, 2)]))).toHaveLength(4);
  expect(shown(foldLaps([step(0, 1), step(1, 9), step(0, 1)]))).toHaveLength(3);
});

test("the turning points: both edges of each CPU's turn, and every change of the word", () => {
  const turn = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => step(0, i, i === 4 ? "01" : "00"));
  expect(shown(turningPoints([...turn, step(1, 20)]))).toEqual([
    "0:0x0",
    "0:0x1",
    "… 2 steps",
    "0:0x4",
    "… 1 step",
    "0:0x6",
    "0:0x7",
    "1:0x20",
  ]);
});
