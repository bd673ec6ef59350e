// Kernels in memory that came without registers and without notes: what LiME, AVML and raw files are.
import { expect, test, vi } from "vitest";
import { makeBugSpecimen, makeSpecimen } from "../../../specimen/index.ts";
import { physicalAddress } from "../bytes/brand.ts";
import { MissingError } from "../bytes/errors.ts";
import { BufferSource } from "../bytes/source.ts";
import { openDump } from "../memory/open.ts";
import type { Dump, PhysicalMemory } from "../memory/types.ts";
import { locateKernel } from "./address-space.ts";
import { openKernel } from "./open.ts";

vi.setConfig({ testTimeout: 30_000 });

const dumpOf = (bytes: Uint8Array) => openDump(new BufferSource("dump", bytes));
const SPECIMENS: [string, () => Uint8Array][] = [
  ["6.x", () => makeSpecimen({}).dump],
  ["3.0", () => makeBugSpecimen({}).dump],
];

/** The same memory and nothing else; with `text` laid over it at a physical address. */
function bare(dump: Dump, text?: { at: number; bytes: Uint8Array }): Dump {
  return {
    ...{ path: "memory", format: "raw", size: dump.size, segments: [], incomplete: false, problems: [] },
    ...{ cpus: [], notes: [] },
    physical: text === undefined ? dump.physical : withText(dump.physical, text.at, text.bytes),
  };
}

function withText(memory: PhysicalMemory, at: number, text: Uint8Array): PhysicalMemory {
  const lay = (start: number, into: Uint8Array) => {
    for (let i = 0; i < text.length; i++) {
      const to = at + i - start;
      if (to >= 0 && to < into.length) into[to] = text[i];
    }
  };
  return {
    ranges: memory.ranges,
    page(pfn) {
      const page = memory.page(pfn)?.slice();
      if (page !== undefined) lay(pfn * 4096, page);
      return page;
    },
    read(address, into, absent) {
      memory.read(address, into, absent);
      lay(Number(address), into);
    },
  };
}

test.each(SPECIMENS)("%s: found by the shape of its page tables", (_era, make) => {
  const dump = dumpOf(make());
  const known = openKernel(dump);
  const found = openKernel(bare(dump));
  expect(found.addressSpace).toMatch(/^a search for page tables \(at physical 0x[0-9a-f]+\)$/);
  expect(found.release).toBe(known.release);
  expect(found.find("_text")).toBe(known.find("_text"));
  expect(found.memory.levels).toBe(known.memory.levels);
  expect(found.modules.map(({ name }) => name)).toEqual(known.modules.map(({ name }) => name));
});

test("found by the VMCOREINFO that the kernel keeps in memory, not by a text that looks like it", () => {
  const dump = dumpOf(makeSpecimen({}).dump);
  const { vmcoreinfo } = dump;
  if (vmcoreinfo === undefined) throw new Error("the specimen has a VMCOREINFO note");
  const free = Number(dump.physical.ranges[0].start) + 0x100;
  const at = free + 64;
  const text = new TextEncoder().encode(`OSRELEASE=%s\n\0${" ".repeat(50)}${vmcoreinfo}\0`);
  const { space } = locateKernel(bare(dump, { at: free, bytes: text }));
  expect(space.evidence).toBe(`VMCOREINFO (init_top_pgt, phys_base), a text at physical 0x${at.toString(16)}`);
});

test("memory without a kernel: said what was looked for", () => {
  const empty = new Uint8Array(1 << 20);
  const memory: PhysicalMemory = {
    ranges: [{ start: physicalAddress(0n), length: BigInt(empty.length) }],
    page: (pfn) => empty.subarray(pfn * 4096, (pfn + 1) * 4096),
    read: (_address, into) => into.fill(0),
  };
  const dump = { ...bare(dumpOf(makeSpecimen({}).dump)), physical: memory };
  expect(() => openKernel(dump)).toThrow(MissingError);
  expect(() => openKernel(dump)).toThrow("a search found none");
});
