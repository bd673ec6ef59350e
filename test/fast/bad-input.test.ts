// Whatever a user hands over, the answer is a clear line or valid JSON, a status, and nothing else: no stack trace, no
// file written beside theirs.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditResult, ErrorResult } from "../../packages/core/src/results/results.ts";
import { palimpsest, temporaryFolder, writeSpecimen } from "./support.ts";

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder.path, ...names);
const BUILD_ID = Buffer.from("palimpsest-specimen.");
let dump: Uint8Array;
let before: string;

/** Names, sizes and times of all files but the cache's. */
function listing(path = folder.path): string {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => path !== folder.path || entry.name !== "cache")
    .map((entry) => {
      const full = join(path, entry.name);
      return entry.isDirectory() ? listing(full) : `${full} ${statSync(full).size} ${statSync(full).mtimeMs}`;
    })
    .join("\n");
}

/** The specimen's build-id, in its notes and in VMCOREINFO's text, begins with another byte. */
function ofAnotherBuild(dump: Uint8Array): Uint8Array {
  const other = Buffer.from(dump);
  for (let i = other.indexOf(BUILD_ID); i >= 0; i = other.indexOf(BUILD_ID, i)) other[i] = 0x50;
  const text = Buffer.from(BUILD_ID.toString("hex"));
  for (let i = other.indexOf(text); i >= 0; i = other.indexOf(text, i)) other.write("50", i);
  return other;
}

beforeAll(() => {
  dump = writeSpecimen(folder.path).dump;
  const kdump = writeSpecimen(at("kdump"), { format: "kdump" }).dump;
  writeSpecimen(at("one-cpu"), { cpus: 1 });
  writeFileSync(at("empty"), "");
  writeFileSync(at("text"), "Nov 22 18:51:34 host kernel: BUG: soft lockup\n");
  writeFileSync(at("zeros"), new Uint8Array(100_000));
  writeFileSync(at("noise"), dump.slice(5000, 90_000));
  mkdirSync(at("bare"));
  writeFileSync(at("bare", "vmcore"), dump);
  for (const [name, bytes] of [
    ["elf", dump],
    ["kdump", kdump],
  ] as const) {
    for (const part of [100, 1024, bytes.length >> 2, bytes.length >> 1, Math.floor(bytes.length * 0.97)]) {
      writeFileSync(at(`${name}-${part}`), bytes.subarray(0, part));
    }
  }
  writeFileSync(at("elf-no-tables"), dump.subarray(0, 0x4000));
  mkdirSync(at("other"));
  writeFileSync(at("other", "vmcore"), ofAnotherBuild(dump));
  mkdirSync(at("few"));
  writeFileSync(at("few", "vellum.ko"), readFileSync(at("modules", "vellum.ko")));
  mkdirSync(at("broken"));
  writeFileSync(at("broken", "vellum.ko"), readFileSync(at("modules", "vellum.ko")).subarray(0, 3000));
  writeFileSync(at("broken", "quire.ko"), "not a module");
  execFileSync("mkfifo", [at("pipe")]);
  before = listing();
});
afterAll(() => {
  expect(listing()).toBe(before);
  folder.remove();
});

/** Both outputs of one run: status 2, one line and advice in text, the same error in JSON. */
async function failing(...args: string[]): Promise<ErrorResult["error"]> {
  const text = await palimpsest(...args);
  expect(text).toMatchObject({ status: 2, stdout: "" });
  expect(text.stderr).not.toMatch(/\n\s+at /);
  const json = await palimpsest(...args, "--json");
  expect(json).toMatchObject({ status: 2, stderr: "" });
  const result = JSON.parse(json.stdout) as ErrorResult;
  expect(result.schema).toBe("palimpsest/error/1");
  return result.error;
}

describe("a file that is no dump", () => {
  test.each([
    ["nowhere", "missing", "no such file"],
    ["", "format", "a folder, not a file"],
    ["pipe", "format", "a pipe, not a file"],
    ["empty", "format", "not a memory dump: an empty file"],
    ["text", "format", "not a memory dump: a text file"],
    ["zeros", "format", "starts with 1024 zero bytes"],
    ["noise", "format", "a file of an unknown kind"],
    ["vmlinuz", "format", "a Linux kernel image (bzImage), not a dump of its memory"],
    ["modules/vellum.ko", "format", "an ELF object file, not a memory dump"],
  ])("%s", async (name, kind, message) => {
    const error = await failing("diagnose", at(name));
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(message);
    expect(error.message).toContain(at(name));
  });
});

describe("a dump that was cut off", () => {
  test.each(["elf", "kdump"])("%s", async (name) => {
    const parts = readdirSync(folder.path).filter((each) => each.startsWith(`${name}-`) && /\d$/.test(each));
    expect(parts.length).toBe(5);
    for (const part of parts) {
      const { status, stdout, stderr } = await palimpsest("diagnose", at(part), "--json", "--no-cache");
      expect(status, part).toBe(2);
      expect(stderr).not.toMatch(/\n\s+at /);
      const result = JSON.parse(stdout) as AuditResult | ErrorResult;
      if ("error" in result) expect([result.error.message, ...result.notes].join("\n")).toContain(at(part));
      else expect(result).toMatchObject({ complete: false, findings: [] });
    }
  });

  test("says at which offset, in whatever could still be told", async () => {
    const size = dump.length >> 2;
    const { status, stdout } = await palimpsest("info", at(`elf-${size}`));
    expect(status).toBe(0);
    expect(stdout).toContain(`${at(`elf-${size}`)}: the file ends at 0x${size.toString(16)}`);
    const { stderr } = await palimpsest("info", at("elf-no-tables"));
    expect(stderr).toContain("a page table that maps a Linux x86-64 kernel is missing");
    expect(stderr).toContain(`${at("elf-no-tables")}: the file ends at 0x4000`);
  });
});

describe("images", () => {
  const diagnose = (...args: string[]) => palimpsest("diagnose", at("bare", "vmcore"), "--json", "--no-cache", ...args);

  test("none: what the dump tells is checked, the rest is not", async () => {
    const { status, stdout } = await diagnose();
    const result = JSON.parse(stdout) as AuditResult;
    expect(status).toBe(2);
    expect(result).toMatchObject({ complete: false, findings: [] });
    expect(result.notChecked.map(({ object }) => object)).toEqual(["vmlinux", "quire", "vellum"]);
    expect(result.notChecked[0].reason).toContain("give it with --image");
  });

  test("the right ones by flag", async () => {
    const { status, stdout } = await diagnose("--image", at("vmlinuz"), "--modules", at("modules"));
    expect([status, (JSON.parse(stdout) as AuditResult).complete]).toEqual([0, true]);
  });

  test("a module's file missing", async () => {
    const { status, stdout } = await diagnose("--image", at("vmlinuz"), "--modules", at("few"));
    const result = JSON.parse(stdout) as AuditResult;
    expect(status).toBe(2);
    expect(result.notChecked.map(({ object }) => object)).toEqual(["quire"]);
    expect(result.objects.filter(({ checked }) => checked).map(({ name }) => name)).toEqual(["vmlinux", "vellum"]);
  });

  test("modules' files broken", async () => {
    const { status, stdout } = await diagnose("--image", at("vmlinuz"), "--modules", at("broken"));
    const reasons = (JSON.parse(stdout) as AuditResult).notChecked.map(({ object, reason }) => `${object}: ${reason}`);
    expect(status).toBe(2);
    expect(reasons[0]).toContain(`quire: ${at("broken", "quire.ko")}: a file that is no ELF module`);
    expect(reasons[1]).toContain(`vellum: ${at("broken", "vellum.ko")}`);
  });

  test.each([
    ["nowhere", "missing"],
    ["text", "unsupported"],
    ["empty", "unsupported"],
    ["modules/vellum.ko", "format"],
    ["vmcore", "format"],
    ["few", "missing"],
  ])("--image %s", async (name, kind) => {
    const error = await failing("diagnose", at("bare", "vmcore"), "--image", at(name));
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(at(name));
  });

  test("another build is refused, unless forced", async () => {
    const id = BUILD_ID.toString("hex");
    const args = [
      "diagnose",
      at("other", "vmcore"),
      "--image",
      at("vmlinuz"),
      "--modules",
      at("modules"),
      "--no-cache",
    ];
    const error = await failing(...args);
    expect(error.kind).toBe("mismatch");
    expect(error.message).toContain(`the dump's build-id is 50${id.slice(2)}`);
    expect(error.message).toContain(`the image's ${id}`);
    expect((await palimpsest(...args, "--force")).status).toBe(0);
  });
});

describe("a wrong use", () => {
  test.each([
    [["frobnicate"], "unknown command 'frobnicate'"],
    [["diagnose"], "missing required argument 'dump'"],
    [["diagnose", "a", "b"], "too many arguments"],
    [["diagnose", "a", "--frobnicate"], "unknown option '--frobnicate'"],
    [["audit", "a", "--limit", "many"], "It takes a whole number."],
    [["--color", "pink", "info", "a"], "Allowed choices are auto, always, never."],
  ])("%j", async (args, message) => {
    const error = await failing(...args);
    expect(error.kind).toBe("usage");
    expect(error.message).toContain(message);
  });

  test("a slip is answered with what was meant", async () => {
    const { stderr } = await palimpsest("diagnos", at("vmcore"));
    expect(stderr).toContain("palimpsest: unknown command 'diagnos'\n(Did you mean diagnose?)");
    expect((await failing("diagnos", at("vmcore"))).advice).toBe("Did you mean diagnose?");
    expect((await failing("info", at("vmcore"), "--imag", "x")).advice).toBe("Did you mean --image?");
  });

  test("no command shows the help on stderr", async () => {
    const { status, stdout, stderr } = await palimpsest();
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("palimpsest diagnose vmcore");
  });

  test.each([
    ["site", "no_such_symbol", "missing"],
    ["site", "0x10", "missing"],
    ["dis", "0xffff000000000000", "address"],
  ])("%s %s", async (command, where, kind) => {
    expect((await failing(command, at("vmcore"), where, "--no-cache")).kind).toBe(kind);
  });
});

describe("a bug", () => {
  test("is called one, in a line or in JSON", async () => {
    // A dump path of a wrong type is what no shell can give.
    const error = await failing("info", 7 as unknown as string);
    expect(error.kind).toBe("internal");
    expect(error.message).toMatch(/^this is a bug in palimpsest .*Error: /);
  });
});
