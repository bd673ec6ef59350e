// The byte-by-byte comparison: one row of built, intended and found bytes, and the verdicts that they get.
import { expect, test } from "vitest";
import { PatchSpace, patchRegion } from "../sites/base/patch-space.ts";
import { compareRegion, type RegionCounts } from "./compare.ts";

function compare(built: number[], found: number[], options: { gaps?: [number, number][]; sitesOnly?: boolean } = {}) {
  const space = new PatchSpace([patchRegion(".text", 0x1000, Uint8Array.from(built), true)]);
  space.write(0x1001, Uint8Array.of(0x66, 0x90), 1);
  space.forget(0x1004, 2, "jump-labels", "static key");
  const counts: RegionCounts = { bytes: 0, built: 0, patched: 0, absent: 0, byMechanism: new Float64Array(4) };
  const gaps = (options.gaps ?? []).map(([offset, length]) => ({ offset, length }));
  const runs = compareRegion(space.regions[0], Uint8Array.from(found), gaps, counts, options.sitesOnly);
  const { bytes, patched, absent } = counts;
  return { bytes, built: counts.built, patched, absent, runs: runs.map(({ start, length }) => [start, length]) };
}

const BUILT = [1, 2, 3, 4, 5, 6, 7, 8];

test.each([
  ["as intended", [1, 0x66, 0x90, 4, 5, 6, 7, 8], {}, { built: 6, patched: 2, absent: 0, runs: [] }],
  ["not patched", BUILT, {}, { built: 6, patched: 0, absent: 0, runs: [[1, 2]] }],
  ["unjudged, other than built", [1, 0x66, 0x90, 4, 9, 9, 7, 8], {}, { built: 4, patched: 2, absent: 2, runs: [] }],
  [
    "damage around what is unjudged",
    [1, 0x66, 0x90, 9, 9, 9, 9, 8],
    {},
    {
      ...{ built: 2, patched: 2, absent: 2 },
      runs: [
        [3, 1],
        [6, 1],
      ],
    },
  ],
  [
    "a gap",
    [1, 0x66, 0x90, 0, 0, 0, 7, 8],
    { gaps: [[3, 3]] as [number, number][] },
    { built: 3, absent: 3, runs: [] },
  ],
  [
    "sites only",
    [1, 0x66, 0x91, 4, 9, 9, 7, 8],
    { sitesOnly: true },
    { bytes: 2, built: 0, patched: 1, runs: [[2, 1]] },
  ],
  [
    "sites only, one of them recovered from what it became",
    [1, 0x66, 0x90, 9, 9, 9, 7, 8],
    { sitesOnly: true, built: BUILT },
    { bytes: 2, built: 0, patched: 2, runs: [[3, 1]] },
  ],
  [
    "sites only, with a gap",
    [1, 0x66, 0, 0, 5, 6, 7, 8],
    { sitesOnly: true, gaps: [[2, 2]] as [number, number][] },
    { bytes: 2, built: 0, patched: 1, absent: 1, runs: [] },
  ],
])("%s", (_name, found, options, expected) => {
  // Without an image the text found stands in for the built one.
  const built = "sitesOnly" in options && !("built" in options) ? found : BUILT;
  expect(compare(built, found, options)).toMatchObject({ bytes: 8, ...expected });
});

test("what cannot be judged is counted by its reason", () => {
  const space = new PatchSpace([patchRegion(".text", 0x1000, new Uint8Array(64), true)]);
  space.forget(0x1010, 5, "jump-labels", "static key");
  space.forget(0x1020, 5, "jump-labels", "static key");
  space.forget(0x1030, 5, "ftrace", "ftrace record");
  space.forget(0x2000, 5, "ftrace", "ftrace record"); // outside
  expect(space.unjudged).toEqual([
    { mechanism: "jump-labels", state: "static key", sites: 2, first: 0x1010 },
    { mechanism: "ftrace", state: "ftrace record", sites: 1, first: 0x1030 },
  ]);
});

test("layers that begin in the middle of a word, and those that do not, get the same verdicts", () => {
  let seed = 3;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const built = Uint8Array.from({ length: 4099 }, () => random(256));
  const shifted = (bytes: Uint8Array): Uint8Array => {
    const room = new Uint8Array(bytes.length + 1);
    room.set(bytes, 1);
    return room.subarray(1);
  };
  const compared = (move: (bytes: Uint8Array) => Uint8Array, gaps: { offset: number; length: number }[]) => {
    seed = 11;
    const region = { ...patchRegion(".text", 0x1000, move(built), true), intended: move(built) };
    const found = move(built);
    for (let i = 0; i < 200; i++) {
      const at = random(built.length);
      if (i % 2 === 0) region.intended[at] ^= 1;
      if (i % 3 === 0) found[at] ^= 1;
      if (i % 20 === 0) region.credit[at] = 255;
    }
    const counts: RegionCounts = { bytes: 0, built: 0, patched: 0, absent: 0, byMechanism: new Float64Array(256) };
    const runs = compareRegion(region, found, gaps, counts).map(({ start, length }) => [start, length]);
    return { ...counts, runs };
  };
  for (const gaps of [[], [{ offset: 1001, length: 7 }]]) {
    const whole = compared((bytes) => bytes.slice(), gaps);
    expect(whole).toEqual(compared(shifted, gaps));
    const differing = whole.runs.reduce((sum, [, length]) => sum + length, 0);
    expect(whole.built + whole.patched + whole.absent + differing).toBe(4099);
    expect(whole.patched).toBeGreaterThan(20);
    expect(differing).toBeGreaterThan(50);
  }
});
