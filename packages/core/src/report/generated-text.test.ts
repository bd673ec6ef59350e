// Generated code as text.
import { expect, it } from "vitest";
import type { GeneratedFact } from "../results/generated-results.ts";
import { generatedBlock, generatedLines } from "./generated-text.ts";
import { PLAIN } from "./paint.ts";

const fact = (more: Partial<GeneratedFact>): GeneratedFact => ({
  kind: "kprobe-detour",
  owner: "kprobe at vfs_read+0x5",
  address: "0xffffffffc0001000",
  bytes: 100,
  state: "checked",
  problem: null,
  ...more,
});

it("lists each piece with its state, problems behind", () => {
  const pieces = [
    fact({}),
    fact({ kind: "bpf-program", owner: "bpf_prog_1_x", bytes: 4096, state: "branches" }),
    fact({ state: "differs", problem: "+0x4 holds 90, 5d is expected" }),
    fact({ state: "changing", problem: "kprobe_mutex is held" }),
    fact({ state: "listed" }),
  ];
  expect(generatedLines(pieces, PLAIN)).toEqual([
    "",
    "5 pieces of generated code",
    "  kprobe-detour  ffffffffc0001000    100  as its owner wrote it    kprobe at vfs_read+0x5",
    "  bpf-program    ffffffffc0001000  4,096  leads only to functions  bpf_prog_1_x",
    "  kprobe-detour  ffffffffc0001000    100  differs                  kprobe at vfs_read+0x5",
    "  kprobe-detour  ffffffffc0001000    100  being changed            kprobe at vfs_read+0x5",
    "  kprobe-detour  ffffffffc0001000    100  not checked              kprobe at vfs_read+0x5",
    "  ffffffffc0001000: +0x4 holds 90, 5d is expected",
    "  ffffffffc0001000: kprobe_mutex is held",
  ]);
});

it("counts in one line, or in a table", () => {
  const detours = { pieces: 2, bytes: 200, checked: 1, differing: 1 };
  const account = { pieces: 3, bytes: 4296, checked: 1, differing: 1, kinds: { "kprobe-detour": detours } };
  expect(generatedBlock(account, false)).toEqual([
    "  generated code: 3 pieces, 4,296 bytes; 1 checked against their owners, 1 differ (2 kprobe-detour)",
  ]);
  expect(generatedBlock(account, true)).toEqual([
    "",
    "  generated code  pieces  bytes  checked  differ",
    "  kprobe-detour        2    200        1       1",
  ]);
});

it("is silent where there is none", () => {
  expect(generatedLines([], PLAIN)).toEqual([]);
  expect(generatedBlock({ pieces: 0, bytes: 0, checked: 0, differing: 0, kinds: {} }, true)).toEqual([]);
});
