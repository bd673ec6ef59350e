// Jump labels before 4.20: absolute entries of 24 bytes, and three ways to say which branch is the likely one.
import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";
import { applyJumpLabels } from "./jump-labels.ts";

const TEXT = 0x1000000;
const TARGET = TEXT + 0x40;
const TABLE = 0x2000000;
const KEY = 0x1800000;
const INITIAL = "e9 00 00 00 00";
const NOP = "0f 1f 44 00 00";
const JUMP = "e9 3b 00 00 00";

interface Case {
  /** key->enabled */
  enabled: number;
  /** bit 0 of key->entries: true branch, 3.3 to 4.2 */
  trueBranch?: boolean;
  /** bit 0 of the entry's key: likely, 4.3 on */
  likely?: boolean;
  /** another entry of the core has that bit set */
  branchBits?: boolean;
}

function replay({ enabled, trueBranch = false, likely = false, branchBits = false }: Case): FakeContext {
  const table = new Uint8Array(24);
  const view = new DataView(table.buffer);
  view.setBigUint64(0, at(TEXT), true);
  view.setBigUint64(8, at(TARGET), true);
  view.setBigUint64(16, at(KEY) + (likely ? 1n : 0n), true);
  const kernel = fakeKernel({ symbols: { __start___jump_table: TABLE, __stop___jump_table: TABLE + 24, a_key: KEY } });
  const inMemory = table.slice();
  if (branchBits) inMemory[16] |= 1;
  kernel.memory.put(at(TABLE), inMemory);
  kernel.memory.put32(at(KEY), enabled).put64(at(KEY) + 8n, at(TABLE) + (trueBranch ? 1n : 0n));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: Uint8Array.of(...hex(INITIAL), ...new Array(0x60).fill(0x90)), text: true },
      { name: "__jump_table", start: TABLE, bytes: table },
    ]),
  );
  return context;
}

describe("jump labels before 4.20", () => {
  it.each<[string, Case, string]>([
    ["3.0, disabled", { enabled: 0 }, NOP],
    ["3.0, enabled", { enabled: 2 }, JUMP],
    ["3.3, true branch, enabled", { enabled: 1, trueBranch: true }, NOP],
    ["3.3, true branch, disabled", { enabled: 0, trueBranch: true }, JUMP],
    ["4.3, likely, enabled", { enabled: 1, trueBranch: true, likely: true }, NOP],
    ["4.3, likely, disabled", { enabled: 0, likely: true }, JUMP],
    ["4.3, unlikely test of a key that starts true", { enabled: 1, trueBranch: true, branchBits: true }, JUMP],
  ])("%s", (_name, state, expected) => {
    const context = replay(state);
    const list = applyJumpLabels(context);
    expect(context.problems).toEqual([]);
    expect(list?.table).toBe("__jump_table (24-byte entries)");
    expect(context.intended(TEXT, 5)).toBe(expected);
    expect(list?.describe(0).forms.map((form) => form.name)).toContain("as built, never initialised");
  });
});
