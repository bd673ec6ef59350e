// ENDBR sealing, retpolines, return thunks and runtime constants: one line a case, with built bytes, the state, and the
// bytes that the kernel leaves.
import { describe, expect, it } from "vitest";
import { hexBytes } from "../../x86/encode.ts";
import { K8_STYLE, type NopStyle, P6_STYLE, X86_STYLE } from "../../x86/nops.ts";
import type { Mechanism, SiteContext } from "../base/context.ts";
import type { PatchState } from "../base/patch-state.ts";
import { readEra } from "../era.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex, relativeTable } from "../testing/fake-kernel.ts";
import { applyEndbrSealing } from "./endbr.ts";
import { applyRetpolines } from "./retpolines.ts";
import { applyReturns } from "./returns.ts";
import { applyRuntimeConsts } from "./runtime-consts.ts";

const TEXT = 0x1000000;
const TABLE = 0x1900000;
const THUNKS = 0x1800000;
const RETURN_THUNK = 0x1801000;
const OTHER_THUNK = 0x1802000;

interface Case {
  readonly mechanism: Mechanism;
  readonly section: string;
  readonly built: string;
  readonly state?: Partial<PatchState>;
  readonly symbols?: Record<string, number>;
  /** what the dump holds at the site, where the kernel's choice is read from it */
  readonly found?: string;
  readonly value?: string;
}

/** The intended bytes of one site at TEXT. */
function intended({ mechanism, section, built, state = {}, symbols = {}, found, value }: Case): string {
  const kernel = fakeKernel({ symbols: { __x86_return_thunk: RETURN_THUNK, func: TEXT, ...symbols } });
  if (found !== undefined) kernel.memory.put(at(TEXT), hex(found));
  if (value !== undefined) kernel.memory.put(at(0x1a00000), hex(value));
  const text = new Uint8Array(64).fill(0x90);
  text.set(hex(built));
  const object = fakeObject([
    { name: ".text", start: TEXT, bytes: text, text: true },
    { name: section, start: TABLE, bytes: relativeTable(TABLE, [TEXT]) },
  ]);
  const context = fakeContext(kernel, object, {
    thunkArray: THUNKS,
    builtReturnThunk: RETURN_THUNK,
    returnThunk: RETURN_THUNK,
    ...state,
  });
  expect(mechanism(context)?.entries).toBe(1);
  return hexBytes(context.space.read(TEXT, hex(built).length) ?? new Uint8Array());
}

const rel32 = (opcode: string, from: number, to: number): string => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, to - from, true);
  return `${opcode} ${hexBytes(bytes)}`;
};

describe("ENDBR sealing", () => {
  it.each([
    ["f3 0f 1e fa", "66 0f 1f 00", "66 0f 1f 00"],
    ["f3 0f 1e fa", "0f 1f 40 d6", "0f 1f 40 d6"],
    ["55 48 89 e5", "66 0f 1f 00", "55 48 89 e5"],
  ])("%s, most sites hold %s: %s", (built, found, bytes) => {
    expect(intended({ mechanism: applyEndbrSealing, section: ".ibt_endbr_seal", built, found })).toBe(bytes);
  });
});

describe("a module's only sealed function is judged by what all hold", () => {
  const MODULE = 0x3f000000;
  const sealed = (start: number, found: readonly string[]): SiteContext => {
    const kernel = fakeKernel({});
    found.forEach((bytes, i) => {
      kernel.memory.put(at(start + 16 * i), hex(bytes));
    });
    const text = hex(found.map(() => "f3 0f 1e fa 90 90 90 90 90 90 90 90 90 90 90 90").join(" "));
    const places = found.map((_, i) => start + 16 * i);
    const object = fakeObject([
      { name: ".text", start, bytes: text, text: true },
      { name: ".ibt_endbr_seal", start: TABLE, bytes: relativeTable(TABLE, places) },
    ]);
    return fakeContext(kernel, object, {});
  };
  const overwritten = () => sealed(MODULE, ["f3 0f 1e fa"]);
  const other = () => sealed(MODULE, ["0f 1f 40 d6", "0f 1f 40 d6"]);
  const intendedWith = (core: SiteContext | undefined, modules: () => readonly SiteContext[]): string => {
    const own = overwritten();
    applyEndbrSealing({ ...own, era: readEra(core, modules) });
    return hexBytes(own.space.read(MODULE, 4) ?? new Uint8Array());
  };

  it.each([
    [
      "the core, wherever it comes",
      () => sealed(TEXT, ["0f 1f 40 d6", "0f 1f 40 d6"]),
      () => [overwritten()],
      "0f 1f 40 d6",
    ],
    ["another module", () => undefined, () => [overwritten(), other()], "0f 1f 40 d6"],
    ["another module, asked first", () => undefined, () => [other(), overwritten()], "0f 1f 40 d6"],
    ["nobody", () => undefined, () => [overwritten()], "66 0f 1f 00"],
  ])("%s", (_name, core, modules, bytes) => {
    expect(intendedWith(core(), modules)).toBe(bytes);
  });

  it("few sites of the core do not outvote those of modules, many need none", () => {
    const nopw = (count: number) =>
      sealed(
        TEXT,
        Array.from({ length: count }, () => "66 0f 1f 00"),
      );
    const many = () => [
      sealed(
        MODULE,
        Array.from({ length: 40 }, () => "0f 1f 40 d6"),
      ),
    ];
    expect(intendedWith(nopw(15), many)).toBe("0f 1f 40 d6");
    const never = () => {
      throw new Error("the modules were opened");
    };
    expect(intendedWith(nopw(16), never)).toBe("66 0f 1f 00");
  });
});

describe("retpolines", () => {
  const call = (register: number) => rel32("e8", TEXT + 5, THUNKS + 32 * register);
  const csCall = rel32("2e e8", TEXT + 6, THUNKS + 32 * 11);
  const jump = rel32("e9", TEXT + 5, THUNKS);
  const jcc = rel32("0f 84", TEXT + 6, THUNKS + 32 * 11);
  const jccLow = rel32("0f 84", TEXT + 6, THUNKS);
  const twoPrefixes = rel32("3e 2e e8", TEXT + 7, THUNKS + 32 * 11);
  const sixPrefixes = rel32("2e 2e 2e 2e 2e 2e e8", TEXT + 11, THUNKS + 32 * 11);
  const CALL_THUNKS = 0x1810000;
  const JUMP_THUNKS = 0x1820000;
  const arrays = { __x86_indirect_call_thunk_array: CALL_THUNKS, __x86_indirect_jump_thunk_array: JUMP_THUNKS };
  const counted = { retpoline: true, retpolineLfence: false, callDepth: true };
  const modern = { smp_text_poke_single: 0x1700000 };
  const on = { retpoline: true, retpolineLfence: false };
  const off = { retpoline: false, retpolineLfence: false };
  const lfence = { retpoline: true, retpolineLfence: true };
  it.each<[string, string, Partial<PatchState>, NopStyle, Record<string, number>, string, string?]>([
    ["in use", call(0), on, P6_STYLE, {}, call(0)],
    ["off, up to 6.3", call(0), off, P6_STYLE, {}, "ff d0 0f 1f 00"],
    ["off, r11 with CS prefix", csCall, off, P6_STYLE, {}, "41 ff d3 0f 1f 00"],
    ["off, JMP gets INT3", jump, off, P6_STYLE, {}, "ff e0 cc 66 90"],
    ["off, JMP gets NOPs only", jump, off, K8_STYLE, {}, "ff e0 66 66 90", "ff e0 66 66 90"],
    ["off, 6.12", call(3), off, X86_STYLE, {}, "ff d3 0f 1f 00"],
    ["off, 7.x: prefixes", call(3), off, X86_STYLE, modern, "2e 2e 2e ff d3"],
    ["off, 7.x: prefixes, without the symbol", call(3), off, X86_STYLE, {}, "2e 2e 2e ff d3", "2e 2e 2e ff d3"],
    ["off, 7.x: JMP", jump, off, X86_STYLE, modern, "ff e0 cc cc cc"],
    ["off, 7.x: JMP as 6.12 pads it", jump, off, X86_STYLE, modern, "ff e0 cc 66 90", "ff e0 cc 66 90"],
    ["off, damaged: no vote", jump, off, P6_STYLE, {}, "ff e0 cc 66 90", "ff e0 90 90 90"],
    ["LFENCE", call(0), lfence, P6_STYLE, {}, "0f ae e8 ff d0"],
    ["RSP is no register of a thunk", call(4), off, P6_STYLE, {}, call(4)],
    ["off, clang's Jcc tail call", jcc, off, X86_STYLE, {}, "75 04 41 ff e3 cc"],
    ["off, clang's Jcc, 7.x", jcc, off, X86_STYLE, modern, "75 04 41 ff e3 cc"],
    ["off, Jcc of a low register", jccLow, off, X86_STYLE, {}, "75 04 ff e0 cc 90"],
    ["LFENCE does not fit behind a Jcc of r11: left", jcc, lfence, X86_STYLE, {}, jcc],
    ["off, DS and CS prefixes", twoPrefixes, off, X86_STYLE, {}, "41 ff d3 0f 1f 40 00"],
    ["off, 7.x: NOPs from 5 spare bytes on", sixPrefixes, off, X86_STYLE, modern, "41 ff d3 0f 1f 84 00 00 00 00 00"],
    ["off, Jcc.d8 is none", "75 fd 41 ff d3 90", off, X86_STYLE, {}, "75 fd 41 ff d3 90"],
    ["counted, CS prefix", csCall, counted, X86_STYLE, arrays, rel32("2e e8", TEXT + 6, CALL_THUNKS + 32 * 11)],
    ["counted, Jcc", jcc, counted, X86_STYLE, arrays, rel32("0f 84", TEXT + 6, JUMP_THUNKS + 32 * 11)],
    ["counted, two prefixes: the kernel leaves it", twoPrefixes, counted, X86_STYLE, arrays, twoPrefixes],
  ])("%s: %s", (_name, built, flags, nops, symbols, bytes, found) => {
    const state = { ...flags, nops };
    const section = ".retpoline_sites";
    expect(intended({ mechanism: applyRetpolines, section, built, state, symbols, found })).toBe(bytes);
  });
});

describe("return thunks", () => {
  const built = rel32("e9", TEXT + 5, RETURN_THUNK);
  const other = rel32("e9", TEXT + 5, OTHER_THUNK);
  it.each([
    ["not needed", { rethunk: false }, "c3 cc cc cc cc"],
    ["the built one is in use", { rethunk: true }, built],
    ["another one is in use", { rethunk: true, returnThunk: OTHER_THUNK }, other],
    [
      "ITS: lower half of a cache line",
      { rethunk: true, returnThunk: OTHER_THUNK, itsReturnThunk: OTHER_THUNK },
      other,
    ],
  ])("%s", (_name, state, bytes) => {
    expect(intended({ mechanism: applyReturns, section: ".return_sites", built, state })).toBe(bytes);
  });

  const prefixed = rel32("2e e9", TEXT + 6, RETURN_THUNK);
  const two = rel32("3e 2e e9", TEXT + 7, RETURN_THUNK);
  const jcc = rel32("0f 84", TEXT + 6, RETURN_THUNK);
  const trampoline = `${built} 0f b9 cc`;
  it.each([
    ["clang's CS prefix, not needed", prefixed, { rethunk: false }, "c3 cc cc cc cc cc"],
    ["clang's CS prefix, another one is in use", prefixed, { rethunk: true, returnThunk: OTHER_THUNK }, `${other} cc`],
    ["clang's CS prefix, the built one is in use", prefixed, { rethunk: true }, prefixed],
    ["two prefixes", two, { rethunk: false }, "c3 cc cc cc cc cc cc"],
    ["a Jcc is none: the kernel warns and leaves it", jcc, { rethunk: false }, jcc],
    ["a short jump is none", "eb 10 90 90 90", { rethunk: false }, "eb 10 90 90 90"],
    ["a plain RET is none", "c3 90 90 90 90", { rethunk: true, returnThunk: OTHER_THUNK }, "c3 90 90 90 90"],
    ["a trampoline of static calls", trampoline, { rethunk: false }, "c3 cc cc cc cc 0f b9 cc"],
    [
      "a trampoline that is a RET already",
      "c3 cc cc cc cc 0f b9 cc",
      { rethunk: true, returnThunk: OTHER_THUNK },
      `${other} 0f b9 cc`,
    ],
  ])("%s: %s", (_name, site, state, bytes) => {
    expect(intended({ mechanism: applyReturns, section: ".return_sites", built: site, state })).toBe(bytes);
  });

  it("leaves a jump that leads elsewhere: a static call that was updated before", () => {
    const built = rel32("e9", TEXT + 5, 0x1234560);
    expect(intended({ mechanism: applyReturns, section: ".return_sites", built, state: { rethunk: false } })).toBe(
      built,
    );
  });
});

describe("runtime constants", () => {
  it.each([
    ["runtime_ptr_table", "ef cd ab 89 67 45 23 01", "00 10 20 30 81 88 ff ff", "00 10 20 30 81 88 ff ff"],
    ["runtime_shift_table", "0c", "0b 00 00 00 00 00 00 00", "0b"],
    ["runtime_mask_table", "34 12 00 00", "ff 0f 00 00 00 00 00 00", "ff 0f 00 00"],
  ])("%s: %s, the variable holds %s", (section, built, value, bytes) => {
    const symbols = { table: 0x1a00000 };
    expect(intended({ mechanism: applyRuntimeConsts, section, built, symbols, value })).toBe(bytes);
  });
});
