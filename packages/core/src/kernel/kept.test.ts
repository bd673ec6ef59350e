// Kept things are read once a kernel, with their problems, and never shared with a changed one.
import { expect, test } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { fakeKernel } from "../sites/testing/fake-kernel.ts";
import { isOfKernel, kept } from "./kept.ts";
import type { Kernel } from "./kernel.ts";
import { kernelWith } from "./with.ts";

const kernelOf = (value: number) => {
  const kernel = fakeKernel({});
  kernel.memory.put(AT, Uint8Array.of(value));
  return kernel;
};
const AT = virtualAddress(0xffffffff81000000n);

let reads = 0;
function readByte(kernel: Kernel, problems: string[]): number {
  reads++;
  problems.push("a byte was read");
  return kernel.memory.u8(AT);
}

test("is read once a kernel, and everyone is told what was wrong", () => {
  const kernel = kernelOf(7);
  reads = 0;
  for (let i = 0; i < 2; i++) {
    const problems: string[] = [];
    expect([kept(kernel, readByte, problems), problems]).toEqual([7, ["a byte was read"]]);
  }
  expect([reads, isOfKernel(kernel, "a byte was read"), isOfKernel(kernel, "another")]).toEqual([1, true, false]);
  expect(kept(kernelOf(8), readByte)).toBe(8);
});

test("a changed kernel and a copy read their own", () => {
  const kernel = kernelOf(7);
  expect(kept(kernel, readByte)).toBe(7);
  const { memory } = kernelOf(9);
  const changed = kernelWith(kernel, { memory });
  expect([kept(changed, readByte), changed.structures.memory, kept(kernel, readByte)]).toEqual([9, memory, 7]);
  expect(kept({ ...kernel, memory }, readByte)).toBe(9);
});
