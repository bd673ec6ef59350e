// The state that patching followed before 5.13: NOPs by processor, one CPU by a feature bit.
import { describe, expect, it } from "vitest";
import { at, fakeKernel, hex } from "../testing/fake-kernel.ts";
import { readPatchState } from "./patch-state.ts";

const UP = 3 * 32 + 9;
const NOPL = 3 * 32 + 20;
const A = 0x1400000;
const B = 0x1400100;

describe("SMP locks", () => {
  it.each<[string, Record<string, number>, readonly number[], number | undefined, boolean]>([
    ["3.0 on one CPU", { alternatives_smp_switch: 1 }, [UP], undefined, true],
    ["3.0 on more", { alternatives_smp_switch: 1 }, [], undefined, false],
    ["3.0, noreplace-smp", { alternatives_smp_switch: 1, noreplace_smp: A }, [UP], 1, false],
    ["3.0, the switch not given", { alternatives_smp_switch: 1, noreplace_smp: A }, [UP], 0, true],
    [
      "the variable in init memory that was given back",
      { alternatives_smp_switch: 1, noreplace_smp: A, __init_begin: A, __init_end: B },
      [UP],
      0xcc,
      true,
    ],
    ["3.8 by uniproc_patched", { uniproc_patched: A }, [UP], 0, false],
    ["7.3, where the bit means something else", {}, [UP], undefined, false],
  ])("%s", (_name, symbols, features, value, uniproc) => {
    const kernel = fakeKernel({ symbols, features });
    if (value !== undefined) kernel.memory.put(at(A), [value]);
    expect(readPatchState(kernel, []).uniproc).toBe(uniproc);
  });
});

describe("NOPs", () => {
  it.each([
    ["3.0: ideal_nops points to k8_nops", { ideal_nops: A, k8_nops: B, p6_nops: B + 8 }, "k8"],
    ["3.0: to p6_nops", { ideal_nops: A, k8_nops: B + 8, p6_nops: B }, "p6"],
  ])("%s", (_name, symbols, style) => {
    const kernel = fakeKernel({ symbols });
    kernel.memory.put64(at(A), at(B));
    expect(readPatchState(kernel, []).nops.name).toBe(style);
  });

  it.each<[string, readonly number[], string]>([
    ["an Intel CPU with long NOPs", [NOPL], "p6"],
    ["one without", [], "k8"],
  ])("2.6.39: %s, and the 5-byte NOP that was chosen by itself", (_name, features, style) => {
    const kernel = fakeKernel({ symbols: { find_nop_table: A, ideal_nop5: B }, features });
    kernel.memory.put(at(B), hex("66 66 66 66 90"));
    const { nops } = readPatchState(kernel, []);
    expect(nops.name).toBe(style);
    expect([...nops.atomic5]).toEqual([...hex("66 66 66 66 90")]);
  });

  it("says so when that NOP is not in the dump", () => {
    const problems: string[] = [];
    readPatchState(fakeKernel({ symbols: { k8_nops: A } }), problems);
    expect(problems).toEqual(["ideal_nop5 is not in the dump; the 5-byte NOP is assumed"]);
  });
});
