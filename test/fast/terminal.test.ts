// What a stranger writes into a dump, a file's name or an argument stays text on a terminal.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { palimpsest, temporaryFolder, writeSpecimen } from "./support.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
writeSpecimen(folder.path);

const vmcore = join(folder.path, "vmcore");
const hostile = join(folder.path, "\u001b[31mvm\ncore");

function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const copy = Buffer.from(bytes);
  expect(to.length).toBe(from.length);
  let count = 0;
  for (let at = copy.indexOf(from); at >= 0; at = copy.indexOf(from, at + 1), count++) copy.write(to, at, "latin1");
  expect(count).toBeGreaterThan(0);
  return copy;
}

writeFileSync(hostile, replaced(readFileSync(vmcore), "Specimen Processor", "\u001b[2J\u001b]0;x\u0007\r Evil!!"));

// biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
const RAW = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

test.each([["info"], ["diagnose"], ["cpus"], ["log"]])("%s of a hostile dump with a hostile name", async (command) => {
  const text = await palimpsest(command, hostile, "--no-cache", "--color", "never");
  expect(text.stdout + text.stderr).not.toMatch(RAW);
  const json = await palimpsest(command, hostile, "--no-cache", "--json");
  expect(json.stdout + json.stderr).not.toMatch(RAW);
  expect(() => JSON.parse(json.stdout)).not.toThrow();
});

test("the name of the processor is told as it is", async () => {
  const { stdout } = await palimpsest("info", hostile, "--no-cache");
  expect(stdout).toContain("\\x1b[2J\\x1b]0;x\\x07\\x0d Evil!!");
  expect(stdout).toContain("\\x1b[31mvm\\ncore");
});

test("errors and arguments", async () => {
  for (const args of [
    ["info", "no\u001b[2J\nfile"],
    ["symbols", vmcore, "\u009b31m\u202e"],
    ["no\u001b]0;command"],
    ["read", vmcore, "sym\u001bbol"],
  ]) {
    const { stdout, stderr, status } = await palimpsest(...args);
    expect(stdout + stderr).not.toMatch(RAW);
    expect([1, 2]).toContain(status);
  }
});
