// Pointers as types: what a user writes for one, and the text behind a char *.
import { expect, test } from "vitest";
import { makeSpecimen } from "../../../../specimen/index.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../../memory/open.ts";
import { openKernel } from "../open.ts";
import { structureValues } from "./structure-values.ts";
import { resolveType } from "./type-names.ts";

const kernel = openKernel(openDump(new BufferSource("vmcore", makeSpecimen().dump)));

test.each([
  ["task_struct *", "struct task_struct *"],
  ["struct task_struct*", "struct task_struct *"],
  ["task_struct * *", "struct task_struct **"],
  ["char *", "char *"],
  ["void*", "void *"],
  ["task_struct", "struct task_struct"],
])("%s is %s", (text, type) => {
  expect(resolveType(kernel.types, text).type).toBe(type);
});

test("a pointer to what does not exist", () => {
  expect(() => resolveType(kernel.types, "no_such_type *")).toThrow("no_such_type *");
});

test("a char * is told with its text, a pointer into nowhere without", () => {
  const banner = kernel.address("linux_banner");
  const holding = (value: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    const memory = Object.create(kernel.memory, { tryRead: { value: () => bytes } });
    return structureValues(Object.create(kernel, { memory: { value: memory } }), banner, "char *").members[0].value;
  };
  expect(holding(banner)).toMatch(/^0x[0-9a-f]{16} .*linux_banner "Linux version 6\.1\.0-palimpsest/);
  expect(holding(0xffffdead00000000n)).toBe("0xffffdead00000000");
  expect(holding(0x1000n)).toBe("0x0000000000001000");
  expect(holding(0n)).toBe("NULL");
});
