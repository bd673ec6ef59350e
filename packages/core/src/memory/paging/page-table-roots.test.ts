import { expect, it } from "vitest";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { concat, makeElf, qemuNote, testPages } from "../testing/make-elf.ts";
import { pageTableRoots } from "./page-table-roots.ts";

function roots(...cpus: Parameters<typeof qemuNote>[0][]): [bigint, number, string][] {
  const parts = [
    { type: 4, bytes: concat(cpus.map(qemuNote)) },
    { type: 1, bytes: testPages(1) },
  ];
  const dump = openDump(new BufferSource("vmcore", makeElf(parts)));
  return pageTableRoots(dump).map(({ root, levels, from }) => [root, levels, from]);
}

it("takes kernel-mode CPUs first, levels from cr4.LA57, without repeats", () => {
  expect(roots({ cr3: 0x4000n, cs: 0x33 }, { cr3: 0x2000n, cr4: 0x1020n }, { cr3: 0x2fffn, cr4: 0x1020n })).toEqual([
    [0x2000n, 5, "cr3 of CPU 1 (QEMU)"],
    [0x4000n, 4, "cr3 of CPU 0 (QEMU)"],
  ]);
});

it("gives both halves of a pair under page table isolation", () => {
  expect(roots({ cr3: 0x5801n, cs: 0x33 }, { cr3: 0x7000n })).toEqual([
    [0x7000n, 4, "cr3 of CPU 1 (QEMU)"],
    [0x4000n, 4, "cr3 of CPU 0 (QEMU), kernel half"],
    [0x6000n, 4, "cr3 of CPU 1 (QEMU), kernel half"],
    [0x5000n, 4, "cr3 of CPU 0 (QEMU)"],
  ]);
});

it("leaves out CPUs that do not page", () => {
  expect(roots({ cr3: 0x4000n, cr0: 0x10n }, { cr3: 0n }, { cr3: 0x4000n, cr4: 0n })).toEqual([]);
});
