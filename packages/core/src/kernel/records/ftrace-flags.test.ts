import { describe, expect, it } from "vitest";
import { FTRACE_FL, type FtraceFlagLayout, flagLayout, normalFlags } from "./ftrace-flags.ts";

const { ENABLED, REGS_EN } = FTRACE_FL;

describe("the flags of ftrace records", () => {
  it.each<[string, readonly number[], boolean, FtraceFlagLayout, readonly number[]]>([
    ["2.6.39, one traced", [0x20, 0x28, 0x20], false, "converted", [0, ENABLED, 0]],
    ["2.6.39, one freed", [0x20, 0x21], false, "converted", [0, 0]],
    ["3.0, quiet", [0, 0], false, "bit-30", [0, 0]],
    ["3.0, traced", [0x40000001, 0], false, "bit-30", [ENABLED, 0]],
    ["3.0, traced by 33 ops", [0x40000021, 0x40000020], false, "bit-30", [ENABLED, ENABLED]],
    ["3.10, traced", [0x20000001, 0], true, "bit-29", [ENABLED, 0]],
    ["3.10, one with registers", [0x20000001, 0xe0000001], true, "bit-29", [ENABLED, ENABLED + REGS_EN]],
    ["3.18, traced", [0x80000001, 0], true, "bit-31", [0x80000001, 0]],
    ["4.1, with registers", [0xe0000001, 0x80000001], true, "bit-31", [0xe0000001, 0x80000001]],
    ["no record", [], false, "bit-30", []],
  ])("%s", (_name, raw, regs, layout, flags) => {
    expect(flagLayout(raw, regs)).toBe(layout);
    expect(raw.map((each) => normalFlags(each, layout))).toEqual(flags);
  });
});
