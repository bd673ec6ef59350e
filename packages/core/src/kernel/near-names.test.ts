// What is offered for a name that does not exist.
import { expect, test } from "vitest";
import type { SymbolTable } from "../symbols/types.ts";
import { changes, nearNames } from "./near-names.ts";

const table = (...names: string[]): Pick<SymbolTable, "all"> => ({
  *all() {
    for (const name of names) yield { name, address: 0n, type: "T" } as never;
  },
});

test.each([
  ["schedule", "schedule", 0],
  ["shedule", "schedule", 1],
  ["schedulle", "schedule", 1],
  ["sdhecule", "schedule", 2],
  ["frobnic", "schedule", 3],
  ["scheduel", "schedule", 1],
  ["", "ab", 2],
  ["vfs_read", "vfs_write", 3],
])("%s and %s are %d apart", (a, b, edits) => {
  expect(changes(a, b, 2)).toBe(edits);
});

test("the nearest first, each name once, three at most", () => {
  const symbols = table("schedulers", "schedule", "schedule", "schedules", "scheduler", "vfs_read");
  expect(nearNames(symbols, "schedul")).toEqual(["schedule", "scheduler", "schedules"]);
});

test("nothing is near a pattern, a short name or a strange one", () => {
  const symbols = table("schedule", "abc");
  expect(nearNames(symbols, "sched*l?")).toEqual([]);
  expect(nearNames(symbols, "abd")).toEqual([]);
  expect(nearNames(symbols, "x".repeat(200))).toEqual([]);
  expect(nearNames(symbols, "frobnicate")).toEqual([]);
});
