// The log of a kernel that tells no layouts (no BTF, no VMCOREINFO): the ring proves its own.
import { expect, test } from "vitest";
import { makeSpecimen } from "../../../../specimen/index.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../../memory/open.ts";
import { discoverLog } from "../../symbols/known-shapes/log-shapes.ts";
import { ShapeTypes } from "../../symbols/known-shapes/shape-types.ts";
import { Structures } from "../layouts/structures.ts";
import { openKernel } from "../open.ts";
import { readKernelLog } from "./log.ts";

const kernel = openKernel(openDump(new BufferSource("vmcore", makeSpecimen({}).dump)));

test("is the same as with types", () => {
  const found = discoverLog({ reader: kernel.memory, symbols: kernel.symbols });
  expect(found?.evidence).toEqual([
    expect.stringMatching(/^printk_ringbuffer: the text ring at \+48, infos of 88 bytes/),
  ]);
  const types = new ShapeTypes("proved", found?.shapes ?? []);
  const bare = Object.create(kernel, {
    types: { value: types },
    structures: { value: new Structures(kernel.memory, types) },
    vmcoreinfo: { value: undefined },
  });
  const log = readKernelLog(bare);
  expect(log.records.length).toBeGreaterThan(3);
  expect(log).toEqual(readKernelLog(kernel));
});

test("is not made up out of what is no ring", () => {
  const symbols = Object.create(kernel.symbols, {
    lookup: { value: (name: string) => kernel.symbols.lookup(name === "prb" ? "init_task" : name) },
  });
  expect(discoverLog({ reader: kernel.memory, symbols })).toBeUndefined();
});
