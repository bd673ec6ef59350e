// Places as values, and the one text of each.
import { expect, test } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { arraySymbolTable } from "./array-symbols.ts";
import { nameAddress, placeArgument, placeOf, placeText } from "./place.ts";

const table = arraySymbolTable([
  { name: "schedule", address: virtualAddress(0xffffffff81000000n), type: "T" },
  { name: "redo_fd_request", address: virtualAddress(0xffffffffa0000000n), type: "t", module: "floppy" },
]);

test.each([
  [0xffffffff81000000n, "schedule", "schedule"],
  [0xffffffff8100001dn, "schedule+0x1d", "schedule+0x1d"],
  [0xffffffffa00004dan, "redo_fd_request+0x4da [floppy]", "floppy:redo_fd_request+0x4da"],
  [0xffffffffa0000000n, "redo_fd_request [floppy]", "floppy:redo_fd_request"],
])("the place at %s is written %s, and asked for as %s", (address, text, argument) => {
  const place = placeOf(table, virtualAddress(address));
  expect(place && placeText(place)).toBe(text);
  expect(place && placeArgument(place)).toBe(argument);
  expect(nameAddress(table, virtualAddress(address))).toBe(text);
});

test("an address below all symbols has no place and is written as it is", () => {
  expect(placeOf(table, virtualAddress(0xffffffff80000000n))).toBeUndefined();
  expect(nameAddress(table, virtualAddress(0xffffffff80000000n))).toBe("0xffffffff80000000");
});
