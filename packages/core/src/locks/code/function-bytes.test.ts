// A function whose end lies behind pages that are not there.
import { expect, test } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import { fakeKernel } from "../testing/fake-kernel.ts";
import { functionBytes } from "./function-bytes.ts";

const PAGE = 0xffffffffc0535000n;
const START = PAGE + 0xff0n;
const bytes = (count: number): string => Array.from({ length: count }, (_, i) => (i & 0xff).toString(16)).join(" ");

test.each([
  ["wholly there", 32, 24, 24],
  ["the second page is not there", 16, 7880, 16],
  ["the third page is not there", 16 + 4096, 7880, 16 + 4096],
  ["of no length", 16, 0, undefined],
])("%s", (_what, there, size, read) => {
  const kernel = fakeKernel([[START, bytes(there)]]);
  expect(functionBytes(kernel, virtualAddress(START), size)?.length).toBe(read);
});

test("not there at all", () => {
  expect(functionBytes(fakeKernel([[START, "90"]]), virtualAddress(PAGE + 0x5000n), 64)).toBeUndefined();
});
