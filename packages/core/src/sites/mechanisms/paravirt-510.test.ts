// Paravirt sites from 4.20 to 5.12: one pv_ops, and native code inlined at lock sites while the slot is native.
import { expect, test } from "vitest";
import { at, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyParavirt } from "./paravirt.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const PV = 0x1400000;
const NATIVE = 0x1200010;
const LATE = 0x1200020;
const symbols = { pv_ops: PV, native_patch: 0x1200000, late_spin_unlock: LATE };
const TYPES = {
  "struct paravirt_patch_template": { size: 16, members: { "init.patch": [0, 8], "lock.queued_spin_unlock": [8, 8] } },
} as const;
/** call *pv_ops+8 */
const BUILT = "ff 14 25 08 00 40 81";
const INLINED = "c6 07 00 0f 1f 40 00";

function replay(target: number) {
  const row = new Uint8Array(16);
  const view = new DataView(row.buffer);
  view.setBigUint64(0, at(TEXT), true);
  view.setUint8(8, 1);
  view.setUint8(9, 7);
  const native = { __raw_callee_save___native_queued_spin_unlock: NATIVE };
  const kernel = fakeKernel({ symbols: { ...symbols, ...native }, types: TYPES });
  kernel.memory.put64(at(PV), at(symbols.native_patch));
  kernel.memory.put64(at(PV + 8), at(target));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex(BUILT), text: true },
      { name: ".parainstructions", start: TABLE, bytes: row },
    ]),
  );
  const list = applyParavirt(context);
  return { intended: context.intended(TEXT, 7), forms: list?.describe(0).forms.map(({ bytes }) => toHex(bytes)) };
}

test.each([
  ["native: inlined", NATIVE, INLINED],
  ["changed: called", LATE, "e8 1b 00 20 00 66 90"],
])("queued_spin_unlock %s; either way the inlined code is a form of the site", (_what, target, intended) => {
  expect(replay(target)).toEqual({ intended, forms: [BUILT, INLINED, "0f 1f 80 00 00 00 00"] });
});
