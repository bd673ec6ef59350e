// The three kinds of log, byte by byte: turned over, half written, damaged, partly not in the dump.
import { describe, expect, it, test } from "vitest";
import { at, type FakeKernel, type FakeTypes, fakeKernel } from "../../sites/testing/fake-kernel.ts";
import type { Kernel } from "../kernel.ts";
import { parseVmcoreinfo } from "../vmcoreinfo.ts";
import { readKernelLog } from "./log.ts";

const VARIABLES = 0x2000000;
const RB = 0x2001000;
const DESCS = 0x2002000;
const INFOS = 0x2003000;
const DATA = 0x2005000;

const RING_TYPES: FakeTypes = {
  "struct printk_ringbuffer": { size: 88, members: { desc_ring: [0, 40], text_data_ring: [48, 32] } },
  "struct prb_desc_ring": {
    size: 40,
    members: { count_bits: [0, 4], descs: [8, 8], infos: [16, 8], head_id: [24, 8], tail_id: [32, 8] },
  },
  "struct prb_data_ring": { size: 32, members: { size_bits: [0, 4], data: [8, 8], head_lpos: [16, 8] } },
  "struct prb_desc": { size: 24, members: { state_var: [0, 8], text_blk_lpos: [8, 16] } },
  "struct prb_data_blk_lpos": { size: 16, members: { begin: [0, 8], next: [8, 8] } },
  "struct printk_info": {
    size: 88,
    members: {
      seq: [0, 8],
      ts_nsec: [8, 8],
      text_len: [16, 2],
      caller_id: [20, 4],
      dev_info: [24, 64],
      "dev_info.subsystem": [24, 16],
      "dev_info.device": [40, 48],
    },
  },
};
const OFFSETS = Object.entries(RING_TYPES).flatMap(([type, { size, members = {} }]) => {
  const bare = type.replace("struct ", "");
  return [`SIZE(${bare})=${size}`, ...Object.entries(members).map(([name, [at]]) => `OFFSET(${bare}.${name})=${at}`)];
});

interface RingRecord {
  readonly id: bigint;
  /** 1 committed, 2 finalized (default), 0 being written, 3 reusable */
  readonly state?: number;
  readonly begin: number;
  readonly next: number;
  readonly text?: string;
  readonly absentText?: boolean;
  /** id in front of the text, when it is another's */
  readonly owner?: bigint;
  readonly level?: number;
  readonly device?: string;
}

/** A ring of 4 descriptors and 64 bytes of text. */
function ringKernel(records: readonly RingRecord[], head: bigint, tail: bigint, types = RING_TYPES): FakeKernel {
  const kernel = fakeKernel({ types, symbols: { prb: VARIABLES, log_buf: VARIABLES + 8 } });
  const { memory } = kernel;
  memory.put64(at(VARIABLES), at(RB)).put32(at(RB), 2);
  memory.put64(at(RB + 8), at(DESCS)).put64(at(RB + 16), at(INFOS));
  memory.put64(at(RB + 24), head).put64(at(RB + 32), tail);
  memory.put32(at(RB + 48), 6).put64(at(RB + 56), at(DATA));
  for (const { id, state = 2, begin, next, text = "", ...more } of records) {
    const index = Number(id & 3n);
    const desc = DESCS + 24 * index;
    memory.put64(at(desc), (BigInt(state) << 62n) | id);
    memory.put64(at(desc + 8), begin).put64(at(desc + 16), next);
    const info = INFOS + 88 * index;
    memory.put(at(info), new Uint8Array(88));
    memory.put64(at(info), id).put64(at(info + 8), id * 1_000_000n);
    memory.putNumber(at(info + 16), text.length, 2).put(at(info + 18), [0, (more.level ?? 6) << 5]);
    memory.put32(at(info + 20), 7).text(at(info + 40), more.device ?? "");
    if (text === "" || more.absentText) continue;
    const start = begin >> 6 === (next - 1) >> 6 ? begin & 63 : 0;
    memory.put64(at(DATA + start), more.owner ?? id).text(at(DATA + start + 8), text);
  }
  return kernel;
}

const told = (kernel: Kernel) => {
  const { records, problems, complete } = readKernelLog(kernel);
  return { texts: records.map(({ text }) => text), problems, complete };
};

describe("printk_ringbuffer", () => {
  const three = [
    { id: 4n, begin: 0, next: 24, text: "first line" },
    { id: 5n, begin: 24, next: 48, text: "two\nlines", level: 3, device: "+pci:0" },
    // does not fit behind the second: starts over
    { id: 6n, state: 1, begin: 48, next: 64 + 24, text: "turned over" },
  ];

  it("is read from its oldest record to its newest", () => {
    const { records, complete, ...log } = readKernelLog(ringKernel(three.slice(0, 2), 5n, 4n));
    expect(log).toMatchObject({ kind: "printk_ringbuffer", address: at(DATA), size: 64, problems: [] });
    expect(complete).toBe(true);
    expect(records).toEqual([
      {
        ...{ sequence: 4n, nanoseconds: 4_000_000n, level: 6, facility: 0, caller: 7, text: "first line" },
        continues: false,
      },
      {
        ...{ sequence: 5n, nanoseconds: 5_000_000n, level: 3, facility: 0, caller: 7, text: "two\nlines" },
        ...{ continues: false, device: "+pci:0" },
      },
    ]);
  });

  it.each<[string, RingRecord[], string[], string[], boolean]>([
    ["a block that starts over", [three[1], three[2]], ["two\nlines", "turned over"], [], true],
    // 7.x lets a block end where the ring ends
    [
      "a block up to the end",
      [
        { id: 5n, begin: 40, next: 64, text: "up to the end" },
        { id: 6n, begin: 3, next: 3 },
      ],
      ["up to the end", ""],
      [],
      true,
    ],
    [
      "a line without text",
      [
        { id: 5n, begin: 3, next: 3 },
        { id: 6n, begin: 0, next: 24, text: "x" },
      ],
      ["", "x"],
      [],
      true,
    ],
    [
      "text that was not kept",
      [
        { id: 5n, begin: 1, next: 1 },
        { id: 6n, begin: 0, next: 24, text: "x" },
      ],
      ["x"],
      ["the log: records whose text the kernel did not keep: 1"],
      true,
    ],
    [
      "a record being written",
      [
        { id: 5n, begin: 0, next: 24, text: "x" },
        { id: 6n, state: 0, begin: 24, next: 48 },
      ],
      ["x"],
      ["the log: records that were being written: 1"],
      true,
    ],
    [
      "one that was given back",
      [
        { id: 5n, state: 3, begin: 0, next: 24 },
        { id: 6n, begin: 0, next: 24, text: "x" },
      ],
      ["x"],
      [],
      true,
    ],
    [
      "the id of another record",
      [
        { id: 1n, begin: 0, next: 24, text: "old" },
        { id: 6n, begin: 24, next: 48, text: "x" },
      ],
      ["x"],
      ["the log: descriptors with the id of another record: 1"],
      false,
    ],
    [
      "a block that belongs to another",
      [
        { id: 5n, begin: 0, next: 24, text: "old", owner: 1n },
        { id: 6n, begin: 24, next: 48, text: "x" },
      ],
      ["x"],
      ["the log: records whose text block belongs to another: 1"],
      false,
    ],
    [
      "an impossible block",
      [
        { id: 5n, begin: 0, next: 0x1000, text: "x" },
        { id: 6n, begin: 24, next: 28, text: "x" },
      ],
      [],
      ["the log: records with an impossible text block: 2"],
      false,
    ],
    [
      "text that is not in the dump",
      [
        { id: 5n, begin: 0, next: 24, text: "0123456789", absentText: true },
        { id: 6n, begin: 24, next: 48, text: "x" },
      ],
      ["…", "x"],
      ["the log: bytes of text that are not in the dump: 10"],
      false,
    ],
    [
      "a descriptor that is not in the dump",
      [{ id: 6n, begin: 24, next: 48, text: "x" }],
      ["x"],
      ["the log: records whose descriptors are not in the dump: 1"],
      false,
    ],
  ])("%s", (_name, records, texts, problems, complete) => {
    expect(told(ringKernel(records, 6n, 5n))).toEqual({ texts, problems, complete });
  });

  it("is read in full when its ends are damaged", () => {
    const { texts, problems, complete } = told(ringKernel(three, 0x7fffn, 4n));
    expect([texts, complete]).toEqual([["two\nlines", "turned over"], false]);
    expect(problems[0]).toBe("the log: head_id 0x7fff and tail_id 0x4 are not its ends: all 4 descriptors are read");
    // a head that has stayed behind
    expect(told(ringKernel(three, 5n, 5n)).complete).toBe(false);
  });

  it("refuses sizes that no kernel has", () => {
    const kernel = ringKernel(three, 6n, 4n);
    kernel.memory.put32(at(RB), 40);
    expect(() => readKernelLog(kernel)).toThrow(
      "struct printk_ringbuffer at 0xffffffff82001000: desc_ring.count_bits 40, not 1 to 26",
    );
  });

  it("takes layouts from VMCOREINFO where the kernel has no types", () => {
    const kernel = ringKernel(three.slice(0, 2), 5n, 4n, {});
    expect(() => readKernelLog(kernel)).toThrow("the layout of struct printk_ringbuffer.desc_ring is missing");
    const vmcoreinfo = parseVmcoreinfo(OFFSETS.join("\n"));
    const told = readKernelLog(Object.create(kernel, { vmcoreinfo: { value: vmcoreinfo } }) as Kernel);
    expect(told.records.map(({ text, level }) => [text, level])).toEqual([
      ["first line", 6],
      ["two\nlines", 3],
    ]);
  });
});

/** {text, dictionary, flags, level}; flags: 2 newline, 4 prefix, 8 to be continued */
interface OldRecord {
  readonly text: string;
  readonly flags?: number;
  readonly level?: number;
  readonly dictionary?: string;
  readonly length?: number;
}
const LENGTH = 0x100;

function recordKernel(
  records: readonly OldRecord[],
  options: { first?: number; symbols?: string[]; caller?: boolean } = {},
): FakeKernel {
  const names = ["log_buf", "log_buf_len", "log_first_idx", "log_next_idx", ...(options.symbols ?? [])];
  const kernel = fakeKernel({ symbols: Object.fromEntries(names.map((name, i) => [name, VARIABLES + 8 * i])) });
  const { memory } = kernel;
  const first = options.first ?? 0;
  let end = first;
  const header = options.caller ? 20 : 16;
  for (const { text, flags = 6, level = 6, dictionary = "", length } of records) {
    const size = length ?? (header + text.length + dictionary.length + 3) & ~3;
    // As log_store() has it: what does not fit with room for an empty header starts over.
    if (end + size + header > LENGTH) {
      memory.put(at(DATA + end), new Uint8Array(Math.min(header, LENGTH - end)));
      end = 0;
    }
    memory.put(at(DATA + end), new Uint8Array(size));
    memory.put64(at(DATA + end), 5_000_000_000n).putNumber(at(DATA + end + 8), size, 2);
    memory.putNumber(at(DATA + end + 10), text.length, 2).putNumber(at(DATA + end + 12), dictionary.length, 2);
    memory.put(at(DATA + end + 14), [0, flags | (level << 5)]);
    if (options.caller) memory.put32(at(DATA + end + 16), 0x80000003);
    memory.put(at(DATA + end + header), new TextEncoder().encode(text + dictionary));
    end += size;
  }
  memory.put64(at(VARIABLES), at(DATA)).put32(at(VARIABLES + 8), LENGTH);
  memory.put32(at(VARIABLES + 16), first).put32(at(VARIABLES + 24), end);
  return kernel;
}

describe("printk_log", () => {
  it("is read through its turn", () => {
    const kernel = recordKernel(
      [
        { text: "before", dictionary: "SUBSYSTEM=pci\0DEVICE=+pci:0000:00:00.0" },
        { text: "last that fits", level: 4 },
        { text: "turned over" },
      ],
      { first: 0x90 },
    );
    const { records, complete, kind } = readKernelLog(kernel);
    expect([kind, complete]).toEqual(["printk_log", true]);
    expect(records.map(({ text, level, subsystem, device }) => [text, level, subsystem, device])).toEqual([
      ["before", 6, "pci", "+pci:0000:00:00.0"],
      ["last that fits", 4, undefined, undefined],
      ["turned over", 6, undefined, undefined],
    ]);
    expect(records[0]).toMatchObject({ nanoseconds: 5_000_000_000n, caller: undefined, continues: false });
  });

  it("is empty", () => {
    const kernel = recordKernel([]);
    kernel.memory.put(at(DATA), new Uint8Array(24));
    expect(told(kernel)).toEqual({ texts: [], problems: [], complete: true });
  });

  it("has the caller where records are longer", () => {
    const { records } = readKernelLog(recordKernel([{ text: "1234" }, { text: "12345" }], { caller: true }));
    expect(records.map(({ text, caller }) => [text, caller])).toEqual([
      ["1234", 0x80000003],
      ["12345", 0x80000003],
    ]);
  });

  it("had one number for facility and level in 3.5", () => {
    const kernel = recordKernel([{ text: "early" }]);
    kernel.memory.putNumber(at(DATA + 14), (1 << 3) | 5, 2);
    expect(readKernelLog(kernel).records[0]).toMatchObject({ level: 5, facility: 1, text: "early" });
  });

  it("goes on in the line of the record before, up to 4.9", () => {
    const parts = [{ text: "a", flags: 4 | 8 }, { text: "b", flags: 8 }, { text: "c", flags: 2 }, { text: "next" }];
    const of = (symbols: string[]) => readKernelLog(recordKernel(parts, { symbols })).records.map((r) => r.continues);
    expect(of(["syslog_prev"])).toEqual([false, true, true, false]);
    expect(of([])).toEqual([false, false, false, false]);
  });

  it.each<[string, (kernel: FakeKernel) => void, string]>([
    ["a length of nothing", (k) => k.memory.putNumber(at(DATA + 24 + 8), 0, 2), "the end of the buffer"],
    [
      "a length below a header's",
      (k) => k.memory.putNumber(at(DATA + 24 + 8), 8, 2),
      "a record of 8 bytes with 6 of text",
    ],
    [
      "more text than record",
      (k) => k.memory.putNumber(at(DATA + 24 + 10), 0xffff, 2),
      "a record of 24 bytes with 65535 of text",
    ],
  ])("tells where it breaks off: %s", (_name, damage, problem) => {
    const kernel = recordKernel([{ text: "whole" }, { text: "broken" }, { text: "behind" }]);
    damage(kernel);
    const { texts, problems, complete } = told(kernel);
    expect([texts[0], complete]).toEqual(["whole", false]);
    expect(problems.join()).toContain(problem === "the end of the buffer" ? "the log: a record" : problem);
    expect(problems.join()).toContain("the records behind it are left out");
  });

  it("refuses indexes outside of the buffer", () => {
    const kernel = recordKernel([{ text: "whole" }]);
    kernel.memory.put32(at(VARIABLES + 24), 0x1000);
    expect(() => readKernelLog(kernel)).toThrow("log_first_idx: records from 0x0 to 0x1000 of 0x100 bytes");
  });
});

function charKernel(text: string, options: { end?: number; logged?: number; size?: number } = {}): FakeKernel {
  const names = ["log_buf", "log_buf_len", "log_end", "logged_chars"];
  const kernel = fakeKernel({ symbols: Object.fromEntries(names.map((name, i) => [name, VARIABLES + 8 * i])) });
  const end = options.end ?? text.length;
  const { memory } = kernel;
  for (let i = 0; i < text.length; i++) memory.put(at(DATA + ((end - text.length + i) & 127)), [text.charCodeAt(i)]);
  memory.put64(at(VARIABLES), at(DATA)).put32(at(VARIABLES + 8), options.size ?? 128);
  memory.put32(at(VARIABLES + 16), end).put32(at(VARIABLES + 24), options.logged ?? text.length);
  return kernel;
}

describe("characters", () => {
  it.each([0x40, 1000, 2 ** 32 - 1])("end at %i", (end) => {
    const text = "tail of a line\n<6>[    0.000000] Linux\n<11>no time\n";
    const { records, complete, kind } = readKernelLog(charKernel(text, { end }));
    expect([kind, complete]).toEqual(["characters", true]);
    expect(records.map(({ text, level, facility, nanoseconds }) => [text, level, facility, nanoseconds])).toEqual([
      ["tail of a line", undefined, undefined, undefined],
      ["Linux", 6, 0, 0n],
      ["no time", 3, 1, undefined],
    ]);
  });

  it("are not more than the buffer has", () => {
    const text = `${"x".repeat(127)}\n`;
    expect(told(charKernel(text, { logged: 0xffffffff })).texts).toEqual(["x".repeat(127)]);
    expect(() => readKernelLog(charKernel("x", { size: 100 }))).toThrow("log_buf_len: 100, not a power of two");
  });

  it("that are not in the dump leave a mark", () => {
    expect(told(charKernel("<6>end\n", { logged: 100 }))).toEqual({
      texts: ["…<6>end"],
      problems: ["the log: bytes of text that are not in the dump: 93"],
      complete: false,
    });
  });
});

test("a kernel without any of their variables", () => {
  expect(() => readKernelLog(fakeKernel())).toThrow(
    "every variable of the kernel's log (prb, log_first_idx or log_end) is missing; kernels without CONFIG_PRINTK have none",
  );
});
