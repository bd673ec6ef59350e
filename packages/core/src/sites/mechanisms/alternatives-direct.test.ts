// Paravirt calls as alternatives (6.8 and newer): what the slot holds decides, and what it held before is a legal form.
import { expect, test } from "vitest";
import type { SiteList } from "../base/site.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyAlternatives } from "./alternatives.ts";

const TEXT = 0x1000000;
const REPLACEMENTS = 0x1800000;
const TABLE = 0x2000000;
const SLOT = 0x3000000;
const BUG = 0x1000100;
const NOOP = 0x1000200;
const WAIT = 0x1000300;
const FEATURE = 3 * 32 + 21;
const DIRECT_CALL = 2;
/** call *SLOT */
const BUILT = "ff 14 25 00 00 00 83";

/** The site's list and its bytes after patching, with `target` in the slot. */
function patched(target: number): { list: SiteList | undefined; bytes: string } {
  const kernel = fakeKernel({
    symbols: { BUG_func: BUG, nop_func: NOOP, late_wait: WAIT },
    features: [FEATURE],
    types: { "struct alt_instr": { size: 14 } },
  });
  kernel.memory.put64(at(SLOT), at(target));
  const row = new Uint8Array(14);
  const view = new DataView(row.buffer);
  view.setInt32(0, TEXT - TABLE, true);
  view.setInt32(4, REPLACEMENTS - (TABLE + 4), true);
  view.setUint16(8, FEATURE, true);
  view.setUint16(10, DIRECT_CALL, true);
  view.setUint8(12, 7);
  view.setUint8(13, 5);
  const call = new Uint8Array(5);
  call[0] = 0xe8;
  new DataView(call.buffer).setInt32(1, BUG - (REPLACEMENTS + 5), true);
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex(BUILT), text: true },
      { name: ".altinstr_replacement", start: REPLACEMENTS, bytes: call, text: true },
      { name: ".altinstructions", start: TABLE, bytes: row },
    ]),
  );
  const list = applyAlternatives(context);
  return { list, bytes: toHex(context.space.read(TEXT, 7) ?? new Uint8Array()) };
}

test.each([
  ["a function", WAIT, "e8 fb 02 00 00 66 90"],
  ["the function that does nothing", NOOP, "0f 1f 80 00 00 00 00"],
])("the slot holds %s", (_what, target, bytes) => expect(patched(target).bytes).toBe(bytes));

test("patched while the slot held the empty function: NOPs are a form of the site", () => {
  const { forms } = patched(WAIT).list?.describe(0) ?? { forms: [] };
  expect(forms.map(({ name, bytes }) => `${name}: ${toHex(bytes)}`)).toEqual([
    `original instructions: ${BUILT}`,
    "replacement for X86_FEATURE 3*32+21: e8 fb 02 00 00 66 90",
    "NOPs, as for a slot with an empty function: 0f 1f 80 00 00 00 00",
  ]);
});
