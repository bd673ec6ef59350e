// Padding of 4.1 to 5.12, whose optimize_nops() looks at the first bytes of the site: one site a line, with built bytes,
// bytes of padding, what the dump holds where that decides, and the intended bytes. No entry applies.
import { expect, it } from "vitest";
import { at, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";
import { applyAlternatives } from "./alternatives.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;

it.each<[string, string, number, string | undefined, string]>([
  ["nothing but padding", "90 90 90", 3, undefined, "0f 1f 00"],
  ["real instructions keep their 0x90s", "0f 0d 08 90 90", 2, undefined, "0f 0d 08 90 90"],
  ["a single NOP is none to improve", "90", 1, undefined, "90"],
  ["a NOP first, then instructions: 4.15 on", "90 fa 90 90", 2, "90 fa 90 90", "90 fa 90 90"],
  ["a NOP first, then instructions: before", "90 fa 90 90", 2, "90 fa 66 90", "90 fa 66 90"],
  ["a NOP first, damaged", "90 fa 90 90", 2, "90 fb 66 90", "90 fa 90 90"],
])("%s", (_name, built, padding, found, intended) => {
  const row = new Uint8Array(13);
  const view = new DataView(row.buffer);
  view.setInt32(0, TEXT - TABLE, true);
  view.setInt32(4, TEXT - (TABLE + 4), true);
  view.setUint16(8, 3 * 32 + 16, true);
  row[10] = hex(built).length;
  row[12] = padding;
  const kernel = fakeKernel({ symbols: { ideal_nops: 0x1400000, p6_nops: 0x1400008, optimize_nops: 0x1300000 } });
  kernel.memory.put64(at(0x1400000), at(0x1400008));
  if (found !== undefined) kernel.memory.put(at(TEXT), hex(found));
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: hex(built), text: true },
      { name: ".altinstructions", start: TABLE, bytes: row },
    ]),
  );
  expect(applyAlternatives(context)?.table).toBe(".altinstructions (13-byte entries)");
  expect(context.intended(TEXT, hex(built).length)).toBe(intended);
});
