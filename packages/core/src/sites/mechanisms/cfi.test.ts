// kCFI and FineIBT, one place a line: what boot makes of a function's prefix and of an indirect call.
import { describe, expect, it } from "vitest";
import { UNJUDGED } from "../base/patch-space.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex, relativeTable } from "../testing/fake-kernel.ts";
import { applyCfi, applyCfiSealing, passOverCfi, rehash } from "./cfi.ts";

const FUNC = 0x1000040;
const CALL = 0x1000080;
const CALLER_OLD = "41 ba 78 56 34 12 49 83 eb 10 0f 1f 40 00";
const PREAMBLE_OLD = "f3 0f 1e fa 41 81 ea 78 56 34 12 74 03 0f 0b 90";
const CALLER_NEW = "b8 78 56 34 12 4d 8d 5b f0 0f 1f 44 00 00";
const PREAMBLE_NEW = "f3 0f 1e fa 2d 78 56 34 12 2e 0f 85 03 00 00 00 0f 1f 40 d6";
const PARANOID = "b8 78 56 34 12 41 3b 43 f5 2e 4d 8d 5b f0 75 fd 2e 41 ff d3";
const BHI1 = "49 0f 45 fa 2e 75 03 0f 1f 40 d6";
const BHI_ARGS = 0x2100000;
const NOPS11 = "90 ".repeat(11);
const ENDBR = "f3 0f 1e fa";
// mov $-0x11223344, %r10d; add -15(%r11), %r10d; je; ud2; call
const BUILT_CALLER = "41 ba bc cc dd ee 45 03 53 f1 74 02 0f 0b";

interface World {
  readonly mode: number;
  readonly seed?: number;
  readonly modern?: boolean;
  readonly paranoid?: boolean;
  /** the kernel's templates for cfi=paranoid and cfi=bhi are there */
  readonly templates?: boolean;
  readonly bhi?: boolean;
  /** the first byte of the prefix: b8 + number of arguments */
  readonly register?: number;
  /** bytes from the prefix to its function */
  readonly offset?: number;
  /** what stands behind the comparison of the caller: a call, or a tail call */
  readonly branch?: string;
  readonly its?: string;
  readonly sealed?: boolean;
}

function world(given: World) {
  const { mode, seed, modern = false, paranoid = false, templates = false, bhi = false, sealed = false } = given;
  const { register = 0xb8, offset = 16, branch = "2e e8 00 00 00 00", its } = given;
  const caller = hex(modern ? CALLER_NEW : CALLER_OLD);
  const preamble = hex(modern ? PREAMBLE_NEW : PREAMBLE_OLD);
  const kernel = fakeKernel({
    symbols: {
      fineibt_caller_start: 0x2000000,
      fineibt_caller_end: 0x2000000 + caller.length,
      fineibt_preamble_start: 0x2001000,
      fineibt_preamble_end: 0x2001000 + preamble.length,
      cfi_mode: 0x2002000,
      cfi_seed: 0x2002008,
      func: FUNC,
      __cfi_func: FUNC - offset,
      ...(paranoid ? { cfi_paranoid: 0x200200c } : {}),
      ...(bhi ? { cfi_bhi: 0x200200d } : {}),
      ...(templates
        ? {
            fineibt_paranoid_start: 0x2003000,
            fineibt_paranoid_ind: 0x2003010,
            fineibt_paranoid_end: 0x2003014,
            fineibt_preamble_bhi: 0x2001009,
            fineibt_bhi1_start: 0x2004000,
            fineibt_bhi1_end: 0x200400b,
            __bhi_args: BHI_ARGS,
            __x86_indirect_its_thunk_array: 0x2200000,
          }
        : {}),
    },
  });
  kernel.memory.put(at(0x2000000), caller).put(at(0x2001000), preamble);
  kernel.memory.put(at(0x2002000), [mode, 0, 0, 0]).put32(at(0x2002008), seed ?? 0);
  kernel.memory.put(at(0x200200c), [1, 1]).put(at(0x2003000), hex(PARANOID)).put(at(0x2004000), hex(BHI1));
  const text = new Uint8Array(0x100).fill(0xcc);
  const nops = "90 ".repeat(offset - 5);
  text.set(hex(`${register.toString(16)} 44 33 22 11 ${nops} ${ENDBR} c3`), FUNC - offset - 0x1000000);
  text.set(hex(`${BUILT_CALLER} ${branch}`), CALL - 14 - 0x1000000);
  kernel.memory.put(at(0x1000000), text);
  if (its !== undefined) {
    kernel.memory.put(at(CALL), hex("2e e8 9a 01 00 00")); // to 0x1000220, the thunk's JNE
    kernel.memory.put(at(0x100021f), hex(its));
  }
  const tables = [
    { name: ".cfi_sites", start: 0x3000000, bytes: relativeTable(0x3000000, [FUNC - offset]) },
    { name: ".retpoline_sites", start: 0x3001000, bytes: relativeTable(0x3001000, [CALL]) },
    { name: ".ibt_endbr_seal", start: 0x3002000, bytes: relativeTable(0x3002000, sealed ? [FUNC] : []) },
  ];
  const object = fakeObject([{ name: ".text", start: 0x1000000, bytes: text, text: true }, ...tables]);
  return fakeContext(kernel, object, { itsIndirect: its !== undefined });
}

const SEED = 0x01020304;
const MIXED = "40 30 20 10"; // 0x11223344 ^ SEED

describe("CFI", () => {
  it.each<[string, World, string, string]>([
    ["kCFI as built", { mode: 2 }, `b8 44 33 22 11 ${NOPS11}${ENDBR}`, BUILT_CALLER],
    [
      "kCFI with a seed",
      { mode: 2, seed: SEED },
      `b8 ${MIXED} ${NOPS11}${ENDBR}`,
      "41 ba c0 cf df ef 45 03 53 f1 74 02 0f 0b",
    ],
    ["off", { mode: 1 }, `b8 44 33 22 11 ${NOPS11}${ENDBR}`, "eb 0c bc cc dd ee 45 03 53 f1 74 02 0f 0b"],
    [
      "FineIBT of 6.2",
      { mode: 3, seed: SEED },
      `f3 0f 1e fa 41 81 ea ${MIXED} 74 03 0f 0b 90 66 0f 1f 00`,
      `41 ba ${MIXED} 49 83 eb 10 0f 1f 40 00`,
    ],
    [
      "FineIBT of 7.x",
      { mode: 3, modern: true },
      "f3 0f 1e fa 2d 44 33 22 11 2e 0f 85 03 00 00 00 0f 1f 40 d6",
      "b8 44 33 22 11 4d 8d 5b f0 0f 1f 44 00 00",
    ],
  ])("%s", (_what, given, prefix, caller) => {
    const context = world(given);
    const list = applyCfi(context);
    expect(context.intended(FUNC - 16, 20)).toBe(prefix);
    expect(context.intended(CALL - 14, 14)).toBe(caller);
    expect(list).toMatchObject({ mechanism: "cfi", entries: 1 });
    expect(context.unknown).toEqual([]);
  });

  it.each<[string, World, string]>([
    ["kCFI", { mode: 2, sealed: true }, `b8 00 00 00 00 ${NOPS11}`.trim()],
    ["FineIBT", { mode: 3, sealed: true }, "66 0f 1f 00 41 81 ea 00 00 00 00 74 03 0f 0b 90"],
    ["off", { mode: 1, sealed: true }, `b8 44 33 22 11 ${NOPS11}`.trim()],
  ])("takes the prefix of a sealed function: %s", (_what, given, prefix) => {
    const context = world(given);
    applyCfi(context);
    applyCfiSealing(context);
    expect(context.intended(FUNC - 16, 16)).toBe(prefix);
  });

  it("is unknown in a variant that is not known, and only what differs is left out", () => {
    const context = world({ mode: 3, modern: true, paranoid: true });
    context.kernel.memory.put(at(FUNC - 16), hex(ENDBR));
    expect(applyCfi(context)).toBeUndefined();
    passOverCfi(context);
    expect(context.unknown).toMatchObject([
      {
        id: "unknown.mechanism",
        what: "a variant of CFI that is not known: 1 function prefixes and 1 indirect calls are not judged",
      },
    ]);
    expect(context.space.regions[0].credit.filter((credit) => credit === UNJUDGED)).toHaveLength(20);
  });

  const FINE = { mode: 3, modern: true, templates: true } as const;
  it.each<[string, Partial<World>, string]>([
    ["a call", { paranoid: true }, "b8 44 33 22 11 41 3b 43 f5 2e 4d 8d 5b f0 75 fd 2e 41 ff d3"],
    [
      "a tail call",
      { paranoid: true, branch: "2e e9 00 00 00 00" },
      "b8 44 33 22 11 41 3b 43 f5 2e 4d 8d 5b f0 75 fd 41 ff e3 cc",
    ],
    [
      "a call that needs an ITS thunk",
      { paranoid: true, its: "d6 75 fd 41 ff e3 cc" },
      "b8 44 33 22 11 41 3b 43 f5 2e 4d 8d 5b f0 2e e8 9a 01 00 00",
    ],
    [
      "an ITS thunk that was overwritten: the static one",
      { paranoid: true, its: "d6 75 fd 41 ff e2 cc" },
      "b8 44 33 22 11 41 3b 43 f5 2e 4d 8d 5b f0 2e e8 d8 00 20 01",
    ],
  ])("paranoid: %s", (_what, given, caller) => {
    const context = world({ ...FINE, ...given });
    applyCfi(context);
    expect(context.intended(CALL - 14, 20)).toBe(caller);
  });

  it.each<[string, Partial<World>, string]>([
    ["no argument", { bhi: true }, "2e 0f 85 03 00 00 00 0f 1f 40 d6"],
    ["one argument", { bhi: true, register: 0xb9 }, BHI1],
    ["three arguments: a call", { bhi: true, register: 0xbb }, "2e 2e e8 20 00 10 01 0f 1f 40 d6"],
  ])("BHI: %s", (_what, given, end) => {
    const context = world({ ...FINE, ...given });
    applyCfi(context);
    expect(context.intended(FUNC - 16, 9)).toBe("f3 0f 1e fa 2d 44 33 22 11");
    expect(context.intended(FUNC - 7, 11)).toBe(end);
  });

  it("puts the preamble at the end of a longer prefix (functions on 64 bytes)", () => {
    const context = world({ ...FINE, offset: 64, seed: SEED });
    applyCfi(context);
    expect(context.intended(FUNC - 64, 6)).toBe(`b8 ${MIXED} 90`);
    expect(context.intended(FUNC - 16, 20)).toBe(`f3 0f 1e fa 2d ${MIXED} 2e 0f 85 03 00 00 00 0f 1f 40 d6`);
  });

  it("changes nothing before the boot has chosen", () => {
    const context = world({ mode: 0 });
    expect(applyCfi(context)).toBeUndefined();
    expect(context.intended(FUNC - 16, 5)).toBe("b8 44 33 22 11");
    expect(context.unknown).toEqual([]);
  });

  it("never makes an ENDBR of a hash", () => {
    expect(rehash(0xfa1e0ff3 ^ SEED, SEED)).toBe(((0xfa1e0ff3 >>> 1) ^ 0x80200003) >>> 0);
    expect(rehash(0x11223344, SEED)).toBe(0x10203040);
  });
});
