// Clock, load, taint and memory as a kernel keeps them, and nothing where a value cannot be one.
import { expect, test } from "vitest";
import { fakeKernel } from "../locks/testing/fake-kernel.ts";
import { clockOf, loadOf, memoryOf, taintOf } from "./state-facts.ts";

const AT = 0xffffffff82000000n;
const quad = (value: bigint): string =>
  Array.from({ length: 8 }, (_, i) =>
    Number((value >> BigInt(8 * i)) & 0xffn)
      .toString(16)
      .padStart(2, "0"),
  ).join(" ");
const withWords = (symbol: string, ...words: readonly bigint[]) =>
  fakeKernel([[AT, words.map(quad).join(" ")]], { _text: AT - 0x1000000n, [symbol]: AT });

test("taint is told by its letters, lowest bit first, unknown bits too", () => {
  const mask = (1n << 9n) | (1n << 12n) | (1n << 14n) | (1n << 40n);
  expect(taintOf(withWords("tainted_mask", mask))?.map(({ letter }) => letter)).toEqual(["W", "O", "L", "?"]);
  expect(taintOf(withWords("tainted_mask", 0n))).toEqual([]);
  expect(taintOf(withWords("other", 0n))).toBeUndefined();
});

test("the load has eleven bits behind the point", () => {
  expect(loadOf(withWords("avenrun", 2048n, 1024n, 5120n))).toEqual([1, 0.5, 2.5]);
  expect(loadOf(withWords("avenrun", 1n << 60n, 0n, 0n))).toBeUndefined();
  expect(loadOf(withWords("avenrun", 2048n))).toBeUndefined();
});

test("the clock of kernels before 3.3, and what is no date", () => {
  expect(clockOf(withWords("xtime", 1305000000n))).toBe(1305000000n);
  expect(clockOf(withWords("xtime", 12n))).toBeUndefined();
});

test("memory is counted in pages", () => {
  expect(memoryOf(withWords("_totalram_pages", 3n))).toBe(12288);
  expect(memoryOf(withWords("totalram_pages", 5n))).toBe(20480);
  expect(memoryOf(withWords("_totalram_pages", 0n))).toBeUndefined();
});
