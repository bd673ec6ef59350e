// State letters by the kernel's own table of names, whichever way its bits are numbered.
import { expect, test } from "vitest";
import { fakeKernel, quad, type Runs } from "../locks/testing/fake-kernel.ts";
import { stateLetter } from "./task-state.ts";

const TABLE = 0xffffffff82000000n;
const NAMES = TABLE + 0x1000n;

function kernelWith(names: readonly string[]) {
  const pointers = names.map((_, i) => quad(NAMES + BigInt(i * 32))).join(" ");
  const texts: Runs = names.map((name, i) => [
    NAMES + BigInt(i * 32),
    Array.from({ length: 32 }, (_, k) => (name.charCodeAt(k) || 0).toString(16)).join(" "),
  ]);
  return fakeKernel([[TABLE, pointers], ...texts], { task_state_array: TABLE });
}

const NEW = [
  "R (running)",
  "S (sleeping)",
  "D (disk sleep)",
  "T (stopped)",
  "t (tracing stop)",
  "X (dead)",
  "Z (zombie)",
];
const OLD = [
  "R (running)",
  "S (sleeping)",
  "D (disk sleep)",
  "T (stopped)",
  "t (tracing stop)",
  "Z (zombie)",
  "X (dead)",
];

test.each([
  [0, 0, "R"],
  [1, 0, "S"],
  [2, 0, "D"],
  [0x102, 0, "D"],
  [0x402, 0, "I"],
  [0x1000, 0, "D"],
  [0, 0x20, "Z"],
  [0x40, 0, "P"],
])("state %i, exit state %i: %s", (state, exit, letter) => {
  expect(stateLetter(kernelWith([...NEW, "P (parked)", "I (idle)"]), state, exit)).toBe(letter);
});

test("before 3.14 zombies and the dead had each other's bits", () => {
  expect([16, 32].map((exit) => stateLetter(kernelWith(OLD), 0, exit))).toEqual(["Z", "X"]);
  expect([16, 32].map((exit) => stateLetter(kernelWith(NEW), 0, exit))).toEqual(["X", "Z"]);
});

test("unknown is said", () => {
  expect(stateLetter(fakeKernel([]), undefined, 0)).toBe("?");
  expect(stateLetter(fakeKernel([]), 2, 0)).toBe("D");
});
