// Sources lend their bytes; a reader that copies before it writes must really have a copy.
import { expect, it } from "vitest";
import { BufferSource } from "./source.ts";

it("keeps its bytes when a reader writes into a copy of a Node Buffer's", () => {
  const source = new BufferSource("vmlinux", Buffer.from([1, 2, 3, 4]));
  const copy = source.read(1, 2).slice();
  copy[0] = 9;
  expect(Array.from(source.read(0, 4))).toEqual([1, 2, 3, 4]);
});
