// Alternatives of 2.6.39 to 4.0: entries of 24 bytes with pointers, then of 12, neither with padding to improve.
import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";
import { applyAlternatives } from "./alternatives.ts";

const TEXT = 0x1000000;
const REPLACEMENTS = 0x1800000;
const TABLE = 0x2000000;
const FEATURE = 3 * 32 + 16;
const IDEAL = 0x1400000;

interface Entry {
  offset?: number;
  length: number;
  replacement: string;
  feature?: number;
}

function table(entries: readonly Entry[], layout: 12 | 24): { rows: Uint8Array; replacements: Uint8Array } {
  const code = entries.map((entry) => hex(entry.replacement));
  const rows = new Uint8Array(entries.length * layout);
  const view = new DataView(rows.buffer);
  let from = REPLACEMENTS;
  entries.forEach(({ offset = 0, length, feature = FEATURE }, i) => {
    const row = i * layout;
    if (layout === 24) {
      view.setBigUint64(row, at(TEXT + offset), true);
      view.setBigUint64(row + 8, at(from), true);
    } else {
      view.setInt32(row, TEXT + offset - (TABLE + row), true);
      view.setInt32(row + 4, from - (TABLE + row + 4), true);
    }
    const small = row + (layout === 24 ? 16 : 8);
    view.setUint16(small, feature, true);
    view.setUint8(small + 2, length);
    view.setUint8(small + 3, code[i].length);
    from += code[i].length;
  });
  return { rows, replacements: Uint8Array.from(code.flatMap((bytes) => [...bytes])) };
}

interface Options {
  layout?: 12 | 24;
  features?: readonly number[];
  /** bytes missing at the table's end */
  cut?: number;
  symbols?: Record<string, number>;
}

function replay(built: string, entries: readonly Entry[], options: Options = {}): FakeContext {
  const { rows, replacements } = table(entries, options.layout ?? 24);
  const kernel = fakeKernel({
    features: options.features ?? [FEATURE],
    symbols: options.symbols ?? { ideal_nops: IDEAL, p6_nops: IDEAL + 8 },
  });
  kernel.memory.put64(at(IDEAL), at(IDEAL + 8));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex(built), text: true },
      { name: ".altinstr_replacement", start: REPLACEMENTS, bytes: replacements, text: true },
      { name: ".altinstructions", start: TABLE, bytes: rows.subarray(0, rows.length - (options.cut ?? 0)) },
    ]),
  );
  applyAlternatives(context);
  return context;
}

describe("alternatives before 4.1", () => {
  it.each<[string, string, Entry[], Options, string]>([
    ["shorter, padded", "0f 0d 08 90 90", [{ length: 5, replacement: "0f 18 08" }], {}, "0f 18 08 66 90"],
    ["empty: all NOPs", "0f 77 db 04", [{ length: 4, replacement: "" }], {}, "0f 1f 40 00"],
    [
      "a CALL moved to its place",
      "90 90 90 90 90",
      [{ length: 5, replacement: "e8 00 00 00 00" }],
      {},
      "e8 00 00 80 00",
    ],
    ["a JMP is not moved", "90 90 90 90 90", [{ length: 5, replacement: "e9 00 00 00 00" }], {}, "e9 00 00 00 00"],
    [
      "feature off: untouched, padding too",
      "90 90 90",
      [{ length: 3, replacement: "f3 90" }],
      { features: [] },
      "90 90 90",
    ],
    [
      "the later entry wins",
      "90 90",
      [
        { length: 2, replacement: "f3 90" },
        { length: 2, replacement: "fa" },
      ],
      {},
      "fa 90",
    ],
    [
      "12-byte entries of 3.6 to 4.0: replacement's own NOPs stay",
      "0f 0d 08 90 90",
      [{ length: 5, replacement: "fa 90 90" }],
      { layout: 12 },
      "fa 90 90 66 90",
    ],
  ])("%s", (_name, built, entries, options, expected) => {
    const context = replay(built, entries, options);
    expect(context.problems).toEqual([]);
    expect(context.unknown).toEqual([]);
    expect(context.intended(TEXT, hex(built).length)).toBe(expected);
  });

  it("improves padding from 5.13 on, when 12-byte entries came back", () => {
    const entries = [{ length: 5, replacement: "fa 90 90" }];
    const context = replay("0f 0d 08 90 90", entries, { layout: 12, symbols: { optimize_nops: 0x1300000 } });
    expect(context.intended(TEXT, 5)).toBe("fa 0f 1f 40 00");
  });

  it("counts a last entry whose padding was left out", () => {
    const entries = [
      { length: 2, replacement: "f3 90" },
      { offset: 2, length: 2, replacement: "f3 90" },
    ];
    expect(replay("90 90 90 90", entries, { cut: 4 }).intended(TEXT, 4)).toBe("f3 90 f3 90");
  });

  it("reports a table of no known entry size", () => {
    const context = replay("90 90 90 90", [{ length: 2, replacement: "f3 90" }], { cut: 5 });
    expect(context.unknown.map((each) => each.what)).toEqual([".altinstructions: no known entry size fits"]);
  });
});
