// What --json prints is what the schemas say, no more and no less, for every command and for every kind of finding.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditResult } from "../../packages/core/src/results/results.ts";
import { palimpsest, temporaryFolder, writeSpecimen } from "./support.ts";

const root = join(import.meta.dirname, "..", "..");
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder.path, ...names);

beforeAll(() => {
  writeSpecimen(at("healthy"));
  const { dump } = writeSpecimen(at("tampered"), { tamper: true });
  writeFileSync(at("half"), dump.subarray(0, dump.length >> 1));
});
afterAll(() => folder.remove());

const compiled = new Map<string, readonly ValidateFunction[]>();

/** The shipped schema, and the same with nothing else allowed: a field that the types do not have is an error here. */
function validators(name: string): readonly ValidateFunction[] {
  const known = compiled.get(name);
  if (known !== undefined) return known;
  const text = readFileSync(join(root, "schema", `${name}.json`), "utf8");
  const closed = JSON.parse(text, (_key, value: unknown) => {
    const isObject = typeof value === "object" && value !== null && "properties" in value && "type" in value;
    return isObject && !("additionalProperties" in value) ? { ...value, additionalProperties: false } : value;
  });
  const ajv = () => new Ajv2020({ allErrors: true, allowUnionTypes: true });
  const made = [JSON.parse(text), closed].map((schema) => ajv().compile(schema));
  compiled.set(name, made);
  return made;
}

function expectValid(name: string, stdout: string): unknown {
  const result = JSON.parse(stdout) as { schema: string };
  expect(result.schema).toBe(`palimpsest/${name}/1`);
  for (const validate of validators(name)) {
    validate(result);
    expect(validate.errors).toBe(null);
  }
  return result;
}

test("the schemas are what the types say (else: npm run schema)", () => {
  execFileSync(process.execPath, [join(root, "scripts", "schema.mjs"), "--check"], { stdio: "pipe" });
});

describe("every command", () => {
  test.each([
    ["diagnose", "healthy", [], 0],
    ["diagnose", "tampered", [], 1],
    ["audit", "tampered", [], 1],
    ["info", "healthy", [], 0],
    ["site", "healthy", ["vfs_write+0x5"], 0],
    ["site", "tampered", ["vfs_write+0x5"], 1],
    ["site", "tampered", ["quire:quire_bind"], 0],
    ["dis", "healthy", ["vfs_write"], 0],
    ["symbols", "healthy", ["vfs_*"], 0],
    ["symbols", "healthy", ["no_such_symbol"], 2],
    ["log", "healthy", [], 0],
    ["cpus", "healthy", [], 0],
    ["sys", "healthy", [], 0],
    ["tasks", "healthy", [], 0],
    ["stack", "healthy", ["all"], 0],
    ["locks", "healthy", [], 0],
    ["locks", "healthy", ["linux_banner"], 2],
    ["read", "healthy", ["linux_banner"], 0],
    ["read", "healthy", ["init_task", "--type", "task_struct"], 0],
    ["types", "healthy", ["list_head", "printk_info", "system_states", "u64", "prb_*"], 0],
  ])("%s of the %s specimen %j", async (name, specimen, args, status) => {
    const outcome = await palimpsest(name, at(specimen, "vmcore"), ...args, "--json", "--no-cache");
    expect([outcome.status, outcome.stderr.replace(/^palimpsest: no symbol .*\n/, "")]).toEqual([status, ""]);
    expectValid(name, outcome.stdout);
  });

  test("partial answers", async () => {
    for (const [name, ...args] of [["diagnose"], ["info"], ["site", "vfs_read"], ["dis", "vfs_read"]]) {
      expectValid(name, (await palimpsest(name, at("half"), ...args, "--json", "--no-cache")).stdout);
    }
  });

  test("errors", async () => {
    expectValid("error", (await palimpsest("diagnose", at("nowhere"), "--json")).stdout);
    expectValid("error", (await palimpsest("diagnose", "--json")).stdout);
    expectValid("error", (await palimpsest("stack", at("healthy", "vmcore"), "no-such-task", "--json")).stdout);
  });

  test("has a schema, and each schema is of a result", () => {
    const types = readdirSync(join(root, "packages", "core", "src", "results"))
      .map((file) => readFileSync(join(root, "packages", "core", "src", "results", file), "utf8"))
      .join();
    const declared = Array.from(types.matchAll(/readonly schema: ([^;]+);/g), ([, union]) => union).join();
    const named = new Set(Array.from(declared.matchAll(/"palimpsest\/([\w-]+)\/1"/g), ([, name]) => `${name}.json`));
    expect(readdirSync(join(root, "schema")).sort()).toEqual([...named].sort());
  });
});

test("what users build on is there", async () => {
  const { stdout } = await palimpsest("diagnose", at("tampered", "vmcore"), "--json", "--no-cache");
  const result = expectValid("diagnose", stdout) as AuditResult;
  expect(result).toMatchObject({
    dump: { path: at("tampered", "vmcore"), format: "elf" },
    kernel: {
      release: "6.1.0-palimpsest",
      buildId: expect.stringMatching(/^[0-9a-f]{40}$/),
      version: expect.any(String),
    },
    complete: true,
    notChecked: [],
  });
  expect(result.objects.map(({ name, checked }) => [name, checked])).toEqual([
    ["vmlinux", true],
    ["quire", true],
    ["vellum", true],
  ]);
  const { bytes, verdicts } = result.account;
  expect(Object.values(verdicts).reduce((sum, count) => sum + count)).toBe(bytes);
  expect(result.objects.reduce((sum, object) => sum + object.bytes, 0)).toBe(bytes);
  expect(result.findings.map(({ id, object, length }) => [id, object, length]).sort()).toEqual([
    ["site.stale", "vmlinux", 2],
    ["text.foreign", "quire", 1],
    ["text.foreign", "vmlinux", 1],
  ]);
  for (const finding of result.findings) {
    expect(finding.address).toMatch(/^0x[0-9a-f]{16}$/);
    expect(finding.symbol).toMatch(/\+0x[0-9a-f]+/);
  }
});
