import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyKprobes } from "./kprobes.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const PROBE = 0x3000000;
const LISTS = { optimizing_list: 0x2001000, unoptimizing_list: 0x2001010, freeing_list: 0x2001020 };
const SLOT = 0x1800000;
const HANDLER = 0x1100000;
const types = {
  "struct kprobe": {
    size: 112,
    members: {
      hlist: [0, 16],
      list: [16, 16],
      addr: [40, 8],
      pre_handler: [64, 8],
      opcode: [80, 1],
      "ainsn.insn": [88, 8],
      flags: [104, 4],
    },
  },
  "struct optimized_kprobe": {
    size: 160,
    members: {
      kp: [0, 112],
      list: [112, 16],
      "optinsn.copied_insn": [128, 4],
      "optinsn.insn": [136, 8],
      "optinsn.size": [144, 8],
    },
  },
  "struct mutex": { size: 32, members: { owner: [0, 8] } },
} as const;

interface Case {
  flags: number;
  aggregate?: boolean;
  queue?: keyof typeof LISTS;
  opcode?: number;
  disarmed?: boolean;
  held?: boolean;
}

/** One probe in `push r15; push r14; push r13` at TEXT+5. */
function withProbe({ flags, aggregate, queue, opcode, disarmed, held }: Case): FakeContext {
  const kernel = fakeKernel({
    types,
    symbols: {
      kprobe_table: TABLE,
      kprobes_all_disarmed: 0x2002000,
      kprobe_mutex: 0x2003000,
      aggr_pre_handler: HANDLER,
      vfs_read: TEXT,
      ...LISTS,
    },
  });
  const { memory } = kernel;
  memory.put(at(TABLE), new Uint8Array(512)).put64(at(TABLE + 8 * 7), at(PROBE));
  memory.put(at(PROBE), new Uint8Array(160));
  memory.put64(at(PROBE + 16), at(PROBE + 16)).put64(at(PROBE + 40), at(TEXT + 5));
  memory.put64(at(PROBE + 64), aggregate ? at(HANDLER) : 0n);
  memory.putNumber(at(PROBE + 80), opcode ?? 0x41, 1).put32(at(PROBE + 104), flags);
  if (aggregate)
    memory
      .put(at(PROBE + 128), hex("57 41 56 41"))
      .put64(at(PROBE + 136), at(SLOT))
      .put64(at(PROBE + 144), 6);
  for (const head of Object.values(LISTS)) memory.put64(at(head), at(head));
  if (queue) memory.put64(at(LISTS[queue]), at(PROBE + 112)).put64(at(PROBE + 112), at(LISTS[queue]));
  memory.putNumber(at(0x2002000), disarmed ? 1 : 0, 1).put64(at(0x2003000), held ? 0xffff888000001001n : 0n);
  const text = hex("0f 1f 44 00 00 41 57 41 56 41 55 41 54");
  const context = fakeContext(kernel, fakeObject([{ name: ".text", start: TEXT, bytes: text, text: true }]));
  return context;
}

// The jump from 0xffffffff81000005 to 0xffffffff81800000.
const JUMP = "e9 f6 ff 7f 00 55";
const INT3 = "cc 57 41 56 41 55";
const ORIGINAL = "41 57 41 56 41 55";
const cases: readonly (readonly [what: string, probe: Case, intended: string])[] = [
  ["a plain probe", { flags: 0 }, INT3],
  ["a disabled probe", { flags: 2 }, ORIGINAL],
  ["a probe whose module is gone", { flags: 1 }, ORIGINAL],
  ["a probe through ftrace", { flags: 0x18 }, ORIGINAL],
  ["all probes disarmed", { flags: 0, disarmed: true }, ORIGINAL],
  ["an aggregate that is not optimised", { flags: 0, aggregate: true }, INT3],
  ["an optimised probe", { flags: 4, aggregate: true }, JUMP],
  ["one that waits for the optimiser", { flags: 4, aggregate: true, queue: "optimizing_list" }, INT3],
  ["a disabled one whose jump was not yet taken back", { flags: 6, aggregate: true, queue: "unoptimizing_list" }, JUMP],
  ["one whose jump was just taken back", { flags: 4, aggregate: true, queue: "freeing_list" }, INT3],
];

describe("kprobes", () => {
  it.each(cases)("%s", (_what, probe, intended) => {
    const context = withProbe(probe);
    applyKprobes(context);
    expect(context.intended(TEXT + 5, 6)).toBe(intended);
    expect(context.problems).toEqual([]);
  });

  it("names the probe, its original bytes and its detour buffer", () => {
    const list = applyKprobes(withProbe({ flags: 4, aggregate: true }));
    const details = list?.describe(0);
    expect(list?.lengths[0]).toBe(5);
    expect(details?.slot?.name).toBe("kprobe at vfs_read+0x5");
    expect(details?.slot?.value).toMatch(/^optimised: jumps to its detour buffer .*; original 41 57 41 56 41$/);
    expect(details?.forms.map((form) => toHex(form.bytes))).toEqual(["41 57 41 56 41", "cc 57 41 56 41"]);
  });

  it("knows every step of arming while kprobe_mutex is held, none when it is free", () => {
    expect(applyKprobes(withProbe({ flags: 4, aggregate: true }))?.pending).toBeUndefined();
    const pending = applyKprobes(withProbe({ flags: 4, aggregate: true, held: true }))?.pending;
    expect(pending?.evidence).toBe("kprobe_mutex is held");
    expect(pending?.forms?.(0, false).slice(0, 4).map(toHex)).toEqual([
      "41 57 41 56 41",
      "cc 57 41 56 41",
      "cc f6 ff 7f 00",
      "e9 f6 ff 7f 00",
    ]);
  });

  it("tells when the saved original byte is not what the text calls for", () => {
    const context = withProbe({ flags: 0, opcode: 0x90 });
    applyKprobes(context);
    expect(context.problems).toEqual(["the kprobe at vfs_read+0x5 saved the original byte 90, the text calls for 41"]);
  });

  it("cuts a cycle in the table and goes on", () => {
    const context = withProbe({ flags: 0 });
    context.kernel.memory.put64(at(PROBE), at(PROBE));
    applyKprobes(context);
    expect(context.intended(TEXT + 5, 6)).toBe(INT3);
    expect(context.problems).toEqual(["kprobe_table[7]: a cycle after 1 entries"]);
  });

  it("tells when the table has no symbol", () => {
    const kernel = fakeKernel({ types, symbols: { register_kprobe: TEXT } });
    const context = fakeContext(kernel, fakeObject([]));
    expect(applyKprobes(context)).toBeUndefined();
    expect(context.problems).toEqual(["kprobe_table has no symbol: probes are unknown"]);
  });
});
