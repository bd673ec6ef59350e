// One place a line: which range it is in.
import { expect, it } from "vitest";
import { RangeIndex } from "./range-index.ts";

const named = (...ranges: [string, number, number][]) =>
  new RangeIndex(ranges.map(([value, start, end]) => ({ value, start, length: end - start })));

it.each<[string, RangeIndex<string>, number, number, string | undefined]>([
  ["none at all", named(), 5, 1, undefined],
  ["the first byte", named(["a", 10, 20]), 10, 1, "a"],
  ["the last byte", named(["a", 10, 20]), 19, 1, "a"],
  ["in front", named(["a", 10, 20]), 9, 1, undefined],
  ["behind", named(["a", 10, 20]), 20, 1, undefined],
  ["all of it", named(["a", 10, 20]), 10, 10, "a"],
  ["past its end", named(["a", 10, 20]), 15, 6, undefined],
  ["past its end, into the next", named(["a", 10, 20], ["b", 20, 30]), 15, 6, undefined],
  ["of two beside each other", named(["b", 20, 30], ["a", 10, 20]), 20, 1, "b"],
  ["in the gap between two", named(["a", 10, 20], ["b", 30, 40]), 25, 1, undefined],
  ["of two over each other the first given", named(["a", 10, 30], ["b", 20, 40]), 25, 1, "a"],
  ["… and the other behind it", named(["a", 10, 30], ["b", 20, 40]), 30, 1, "b"],
  ["a first that lies within another", named(["a", 20, 30], ["b", 10, 40]), 25, 1, "a"],
  ["… and the other on both sides", named(["a", 20, 30], ["b", 10, 40]), 35, 1, "b"],
  ["an empty range", named(["a", 10, 10], ["b", 10, 20]), 10, 1, "b"],
])("%s", (_what, index, at, length, value) => {
  expect(index.find(at, length)?.value).toBe(value);
});

it("agrees with a walk over random ranges", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const ranges = Array.from({ length: 40 }, (_, value) => ({ start: random(300), length: random(30), value }));
  const index = new RangeIndex(ranges);
  for (let at = -1; at < 340; at++) {
    const holds = ranges.find(({ start, length }) => at >= start && at < start + length);
    expect(index.find(at)?.value).toBe(holds?.value);
  }
});
