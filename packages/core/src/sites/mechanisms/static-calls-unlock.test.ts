// 7.3 and newer: queued_spin_unlock is a static call, and its native function is inlined into the sites.
import { expect, test } from "vitest";
import { at, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyStaticCalls } from "./static-calls.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const KEY = 0x3000000;
const OTHER_KEY = 0x3000010;
const NATIVE = 0x1200000;
const LATE = 0x1200100;
const symbols = {
  __SCK__queued_spin_unlock: KEY,
  __SCK__other: OTHER_KEY,
  __raw_callee_save___native_queued_spin_unlock: NATIVE,
  late_spin_unlock: LATE,
};
const INLINED = "3e 3e c6 07 00";

function replay(key: number, func: number): { intended: string; forms: string[] } {
  const row = new Uint8Array(8);
  const view = new DataView(row.buffer);
  view.setInt32(0, TEXT - TABLE, true);
  view.setInt32(4, key - (TABLE + 4), true);
  const kernel = fakeKernel({ symbols });
  kernel.memory.put64(at(key), at(func));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex("e8 fb ff 00 00"), text: true },
      { name: ".static_call_sites", start: TABLE, bytes: row },
    ]),
  );
  const list = applyStaticCalls(context);
  return { intended: context.intended(TEXT, 5), forms: list?.describe(0).forms.map(({ bytes }) => toHex(bytes)) ?? [] };
}

test("the native unlock is inlined", () => expect(replay(KEY, NATIVE).intended).toBe(INLINED));

test("another function is called, and the inlined unlock is a form of the site from before", () => {
  const { intended, forms } = replay(KEY, LATE);
  expect(intended).toBe("e8 fb 00 20 00");
  expect(forms).toContain(INLINED);
});

test("no other static call has it", () => expect(replay(OTHER_KEY, LATE).forms).not.toContain(INLINED));
