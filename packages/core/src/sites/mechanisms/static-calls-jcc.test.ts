// Conditional tail calls that clang writes at static call sites: a Jcc of 6 bytes keeps its condition and is led elsewhere.
import { expect, it } from "vitest";
import type { PatchState } from "../base/patch-state.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";
import { applyStaticCalls } from "./static-calls.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const KEY = 0x3000000;
const THUNK = TEXT + 0x106;
const RETURN_THUNK = TEXT + 0x206;
const BUILT_THUNK = TEXT + 0x306;
const PLAIN_RETURN = TEXT + 0x406;
const BUILT = "0f 84 00 10 00 00";
const THUNKS = { rethunk: true, returnThunk: RETURN_THUNK, builtReturnThunk: BUILT_THUNK };

it.each<[string, number, Partial<PatchState>, string | undefined, string]>([
  ["a function", THUNK, {}, undefined, "0f 84 00 01 00 00"],
  ["NULL, no return thunk is needed", 0, { rethunk: false }, undefined, "0f 84 00 04 00 00"],
  ["NULL, the thunk in use", 0, THUNKS, "0f 84 00 02 00 00", "0f 84 00 02 00 00"],
  ["NULL, the built thunk (6.1.y)", 0, THUNKS, "0f 84 00 03 00 00", "0f 84 00 03 00 00"],
  ["NULL, from before thunks were chosen", 0, THUNKS, "0f 84 00 04 00 00", "0f 84 00 04 00 00"],
  ["NULL, damaged", 0, THUNKS, "0f 85 00 02 00 00", "0f 84 00 02 00 00"],
])("%s", (_what, func, state, found, intended) => {
  const row = new Uint8Array(8);
  const view = new DataView(row.buffer);
  view.setInt32(0, TEXT - TABLE, true);
  view.setInt32(4, KEY + 1 - (TABLE + 4), true);
  const kernel = fakeKernel({ symbols: { __SCK__x: KEY, __static_call_return: PLAIN_RETURN } });
  kernel.memory.put64(at(KEY), func === 0 ? 0n : at(func));
  if (found !== undefined) kernel.memory.put(at(TEXT), hex(found));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex(BUILT), text: true },
      { name: ".static_call_sites", start: TABLE, bytes: row },
    ]),
    state,
  );
  const list = applyStaticCalls(context);
  expect(list?.lengths[0]).toBe(6);
  expect(context.intended(TEXT, 6)).toBe(intended);
});

it.each<[string, boolean, string, string]>([
  ["stays as built before apply_returns() came to it", false, "e9 01 03 00 00", "e9 01 03 00 00"],
  ["is a plain return afterwards", true, "e9 01 03 00 00", "c3 cc cc cc cc"],
  ["is a plain return whatever else stands there", false, "e9 02 03 00 00", "c3 cc cc cc cc"],
])("a trampoline of a NULL key %s", (_what, initFreed, found, intended) => {
  const kernel = fakeKernel({ symbols: { __SCK__x: KEY, __SCT__x: TEXT }, initFreed });
  kernel.memory.put64(at(KEY), 0n).put(at(TEXT), hex(found));
  const built = hex("e9 01 03 00 00 0f b9 cc");
  const context = fakeContext(
    kernel,
    fakeObject([{ name: ".static_call.text", start: TEXT, bytes: built, text: true }]),
    { rethunk: false, builtReturnThunk: BUILT_THUNK },
  );
  applyStaticCalls(context);
  expect(context.intended(TEXT, 5)).toBe(intended);
});
