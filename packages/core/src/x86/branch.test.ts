// One branch a line: what the bytes are, how long they are and where they lead from address 0.
import { expect, it } from "vitest";
import { hex } from "../sites/testing/fake-kernel.ts";
import { branchAt, branchEnd } from "./branch.ts";

it.each([
  ["e8 10 00 00 00", "call", 5, 0x15],
  ["2e e8 10 00 00 00", "call", 6, 0x16],
  ["e9 fb ff ff ff 90", "jmp", 5, 0],
  ["2e e9 10 00 00 00 cc", "jmp", 6, 0x16],
  ["3e 2e e9 10 00 00 00", "jmp", 7, 0x17],
  ["66 e8 10 00 00 00", "call", 6, 0x16],
  ["48 e9 10 00 00 00", "jmp", 6, 0x16],
  ["0f 84 10 00 00 00", "jcc", 6, 0x16],
  ["2e 0f 85 10 00 00 00", "jcc", 7, 0x17],
  ["eb fe", "jmp8", 2, 0],
  ["75 fd", "jcc8", 2, -1],
  ["c3 cc", "ret", 1, 1],
  ["f3 c3", "ret", 2, 2],
])("%s: %s of %i bytes to %i", (bytes, kind, length, target) => {
  const branch = branchAt(hex(bytes));
  expect(branch).toMatchObject({ kind, length });
  expect(branch && branchEnd(branch, 0)).toBe(target);
});

it.each(["", "2e", "e8 00 00 00", "0f 84 00 00 00", "0f 1f 00", "ff d0", "90", `${"2e ".repeat(11)}e8 00 00 00 00`])(
  "%s is none",
  (bytes) => {
    expect(branchAt(hex(bytes))).toBeUndefined();
  },
);
