import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { rearrange } from "./flatmap.ts";

const folder = mkdtempSync(join(tmpdir(), "palimpsest-flatmap-"));
const source = join(folder, "flattened");
const target = join(folder, "plain");
afterAll(() => rmSync(folder, { recursive: true }));

const header = Buffer.concat([Buffer.from("makedumpfile\0\0\0\0"), Buffer.alloc(4080)]);
function record(offset: number, data: string | number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64BE(BigInt(offset), 0);
  bytes.writeBigInt64BE(BigInt(typeof data === "string" ? data.length : data), 8);
  return Buffer.concat([bytes, Buffer.from(typeof data === "string" ? data : "")]);
}
const end = record(-1, -1);

it("puts records where they belong, a later one over an earlier one, holes as zeros", () => {
  writeFileSync(source, Buffer.concat([header, record(6, "tail"), record(0, "HEAD"), record(8, "AI"), end]));
  rearrange(source, target);
  expect(readFileSync(target, "latin1")).toBe("HEAD\0\0taAI");
});
it.each([
  ["no end mark", Buffer.concat([header, record(0, "x")]), "ends at 0x1011, before its last record"],
  ["a record longer than the file", Buffer.concat([header, record(0, 1 << 30)]), "ends at 0x1010"],
  ["another format", Buffer.from("KDUMP   ".padEnd(5000)), "not a flattened kdump"],
  ["an empty file", Buffer.alloc(0), "ends at 0x0"],
])("says what is wrong: %s", (_, bytes, message) => {
  writeFileSync(source, bytes);
  expect(() => rearrange(source, target)).toThrow(message);
});
