// One line of bytes for each encoding of the ORC tables, and how the encodings are told apart.
import { expect, test } from "vitest";
import { decodeOrc, type OrcVersion, orcVersion } from "./orc-entry.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text.split(" "), (part) => Number.parseInt(part, 16));

test.each([
  [1, "10 00 f0 ff 15 00", "sp+16 call, bp prev-sp-16"],
  [1, "00 00 00 00 00 04", "undefined+0 end, bp undefined+0"],
  [1, "00 00 00 00 00 00", "undefined+0 undefined, bp undefined+0"],
  [1, "08 00 00 00 05 01", "sp+8 regs, bp undefined+0, signal"],
  [2, "08 00 00 00 05 05", "sp+8 regs, bp undefined+0, signal"],
  [2, "00 00 00 00 00 08", "undefined+0 end, bp undefined+0"],
  [2, "08 00 00 00 09 00", "sp-at+8 call, bp undefined+0"],
  [3, "10 00 f0 ff 15 02", "sp+16 call, bp prev-sp-16"],
  [3, "00 00 00 00 00 01", "undefined+0 end, bp undefined+0"],
  [3, "00 00 00 00 05 0c", "sp+0 iret, bp undefined+0, signal"],
  [4, "10 00 f0 ff 83 02", "sp+16 call, bp prev-sp-16"],
  [4, "08 00 00 00 0a 02", "bp-at+8 call, bp undefined+0"],
  [4, "f8 ff 00 00 06 02", "r10-8 call, bp undefined+0"],
] as const)("version %i: %s is %s", (version, text, meaning) => {
  const entry = decodeOrc(bytes(text), 0, version);
  if (entry === undefined) throw new Error("refused");
  const plus = (value: number): string => (value < 0 ? `${value}` : `+${value}`);
  const { spBase, spOffset, bpBase, bpOffset, type, signal } = entry;
  expect(`${spBase}${plus(spOffset)} ${type}, bp ${bpBase}${plus(bpOffset)}${signal ? ", signal" : ""}`).toBe(meaning);
});

test.each([
  [1, "00 00 00 00 0a 00"],
  [1, "00 00 00 00 05 03"],
  [3, "00 00 00 00 05 05"],
  [4, "00 00 00 00 0b 02"],
] as const)("version %i: %s is refused", (version, text) => {
  expect(decodeOrc(bytes(text), 0, version)).toBe(undefined);
});

const table = (...entries: readonly string[]): Uint8Array => bytes(entries.join(" "));

test.each<[OrcVersion | undefined, boolean | undefined, Uint8Array]>([
  [1, undefined, table("08 00 00 00 05 00", "10 00 00 00 05 00", "00 00 00 00 00 04")],
  [2, undefined, table("08 00 00 00 05 00", "10 00 00 00 05 00", "00 00 00 00 00 08")],
  [2, true, table("08 00 00 00 05 00", "10 00 00 00 05 00")],
  [1, false, table("08 00 00 00 05 00", "10 00 00 00 05 00")],
  [3, undefined, table("08 00 00 00 05 02", "10 00 00 00 05 02", "00 00 00 00 00 01")],
  [4, undefined, table("08 00 00 00 03 02", "10 00 00 00 03 02", "00 00 00 00 00 01")],
  [undefined, undefined, table("08 00 00 00 07 07", "10 00 00 00 0f 07")],
  [undefined, undefined, new Uint8Array(0)],
])("version %j, orc_entry.signal known %j", (version, signal, sample) => {
  expect(orcVersion(sample, signal)).toBe(version);
});
