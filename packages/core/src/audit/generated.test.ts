// Findings and counts of generated code.
import { describe, expect, it } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import type { GeneratedCode } from "../sites/generated/generated-code.ts";
import { generatedAccount, generatedFact, generatedFindings } from "./generated.ts";

const AT = 0xffffffffc0000000n;
const piece = (more: Partial<GeneratedCode>, at = 0): GeneratedCode => ({
  kind: "ftrace-trampoline",
  owner: "global_ops (function_trace_call)",
  address: virtualAddress(AT + BigInt(at)),
  size: 16,
  checked: true,
  ...more,
});
const differing = piece({
  problem: "+0x4 holds 90, 5d is expected",
  differs: [
    { offset: 4, found: Uint8Array.of(0x90), expected: Uint8Array.of(0x5d) },
    { offset: 9, found: Uint8Array.of(1, 2), expected: Uint8Array.of(3, 4) },
  ],
});

describe("findings", () => {
  it("has one for each run of bytes, named after the owner", () => {
    expect(generatedFindings([piece({}), differing])).toMatchObject([
      {
        id: "text.foreign",
        address: "0xffffffffc0000004",
        length: 1,
        object: "trampoline of global_ops (function_trace_call)",
        symbol: "global_ops (function_trace_call)+0x4",
        title: "1 byte in the trampoline of global_ops (function_trace_call) that its owner did not write",
        layers: { intended: "5d", found: "90" },
      },
      { address: "0xffffffffc0000009", length: 2, layers: { intended: "03 04", found: "01 02" } },
    ]);
  });

  it("says of a branch to nowhere what is wrong with it", () => {
    const problem = "+0x1 leads to helper+0x100, which is no function's start";
    const [finding] = generatedFindings([
      piece({
        kind: "bpf-program",
        owner: "bpf_prog_1_x",
        problem,
        differs: [{ offset: 1, found: Uint8Array.of(0xe8) }],
      }),
    ]);
    expect(finding.layers).toEqual({ built: "", intended: "", found: "e8" });
    expect(finding.notes[1]).toBe(`${problem}.`);
  });

  it("has none for what was being changed", () => {
    expect(generatedFindings([{ ...differing, changing: "ftrace_lock is held" }])).toEqual([]);
  });
});

describe("account", () => {
  const pieces = [
    differing,
    piece({ kind: "kprobe-detours", owner: "kprobe_optinsn_slots", size: 4096, checked: false }, 0x1000),
    piece({ kind: "kprobe-detour", owner: "kprobe at vfs_read+0x5", size: 100 }, 0x1000),
    piece({ kind: "bpf-program", owner: "bpf_prog_1_x", partly: true }, 0x3000),
    { ...differing, address: virtualAddress(AT + 0x4000n), changing: "ftrace_lock is held" },
  ];

  it("counts a byte once, however many pieces cover it", () => {
    expect(generatedAccount(pieces)).toEqual({
      pieces: 5,
      bytes: 16 + 4096 + 16 + 16,
      checked: 2,
      differing: 1,
      kinds: {
        "ftrace-trampoline": { pieces: 2, bytes: 32, checked: 0, differing: 1 },
        "kprobe-detours": { pieces: 1, bytes: 4096, checked: 0, differing: 0 },
        "kprobe-detour": { pieces: 1, bytes: 100, checked: 1, differing: 0 },
        "bpf-program": { pieces: 1, bytes: 16, checked: 1, differing: 0 },
      },
    });
  });

  it("tells each piece's state", () => {
    expect(pieces.map((each) => generatedFact(each).state)).toEqual([
      "differs",
      "listed",
      "checked",
      "branches",
      "changing",
    ]);
  });
});
