// kCFI and FineIBT, one place a line: what boot makes of a function's prefix and of an indirect call.
import { describe, expect, it } from "vitest";
import { UNJUDGED } from "../base/patch-space.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex, relativeTable } from "../testing/fake-kernel.ts";
import { applyCfi, applyCfiSealing, passOverCfi, rehash } from "./cfi.ts";

const FUNC = 0x1000020;
const CALL = 0x1000080;
const CALLER_OLD = "41 ba 78 56 34 12 49 83 eb 10 0f 1f 40 00";
const PREAMBLE_OLD = "f3 0f 1e fa 41 81 ea 78 56 34 12 74 03 0f 0b 90";
const CALLER_NEW = "b8 78 56 34 12 4d 8d 5b f0 0f 1f 44 00 00";
const PREAMBLE_NEW = "f3 0f 1e fa 2d 78 56 34 12 2e 0f 85 03 00 00 00 0f 1f 40 d6";
const NOPS11 = "90 ".repeat(11);
const ENDBR = "f3 0f 1e fa";
// mov $-0x11223344, %r10d; add -15(%r11), %r10d; je; ud2; call
const BUILT_CALLER = "41 ba bc cc dd ee 45 03 53 f1 74 02 0f 0b";

interface World {
  readonly mode: number;
  readonly seed?: number;
  readonly modern?: boolean;
  readonly paranoid?: boolean;
  readonly sealed?: boolean;
}

function world({ mode, seed, modern = false, paranoid = false, sealed = false }: World) {
  const caller = hex(modern ? CALLER_NEW : CALLER_OLD);
  const preamble = hex(modern ? PREAMBLE_NEW : PREAMBLE_OLD);
  const kernel = fakeKernel({
    symbols: {
      fineibt_caller_start: 0x2000000,
      fineibt_caller_end: 0x2000000 + caller.length,
      fineibt_preamble_start: 0x2001000,
      fineibt_preamble_end: 0x2001000 + preamble.length,
      cfi_mode: 0x2002000,
      cfi_rand: 0x2002004,
      cfi_seed: 0x2002008,
      ...(paranoid ? { cfi_paranoid: 0x200200c } : {}),
    },
  });
  kernel.memory.put(at(0x2000000), caller).put(at(0x2001000), preamble);
  kernel.memory.put(at(0x2002000), [mode, 0, 0, 0, seed === undefined ? 0 : 1]).put32(at(0x2002008), seed ?? 0);
  if (paranoid) kernel.memory.put(at(0x200200c), [1]);
  const text = new Uint8Array(0x100).fill(0xcc);
  text.set(hex(`b8 44 33 22 11 ${NOPS11} ${ENDBR} c3`), FUNC - 16 - 0x1000000);
  text.set(hex(`${BUILT_CALLER} e8 00 00 00 00`), CALL - 14 - 0x1000000);
  kernel.memory.put(at(0x1000000), text);
  const tables = [
    { name: ".cfi_sites", start: 0x3000000, bytes: relativeTable(0x3000000, [FUNC - 16]) },
    { name: ".retpoline_sites", start: 0x3001000, bytes: relativeTable(0x3001000, [CALL]) },
    { name: ".ibt_endbr_seal", start: 0x3002000, bytes: relativeTable(0x3002000, sealed ? [FUNC] : []) },
  ];
  return fakeContext(kernel, fakeObject([{ name: ".text", start: 0x1000000, bytes: text, text: true }, ...tables]));
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

  it("never makes an ENDBR of a hash", () => {
    expect(rehash(0xfa1e0ff3 ^ SEED, SEED)).toBe(((0xfa1e0ff3 >>> 1) ^ 0x80200003) >>> 0);
    expect(rehash(0x11223344, SEED)).toBe(0x10203040);
  });
});
