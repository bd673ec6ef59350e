// The commands that look things up in a dump, run on the specimens: log, cpus, read, types.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CpusResult } from "../../packages/core/src/results/cpus-results.ts";
import type { LogResult } from "../../packages/core/src/results/log-results.ts";
import type { ReadResult } from "../../packages/core/src/results/read-results.ts";
import { makeBugSpecimen } from "../../packages/specimen/index.ts";
import { palimpsest, temporaryFolder, writeSpecimen } from "./support.ts";

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder.path, ...names);
const VMCORE = at("vmcore");

beforeAll(() => {
  const { dump } = writeSpecimen(folder.path);
  // Everything but the first megabyte of memory's end: the log and the stacks are behind the kernel's image.
  writeFileSync(at("cut"), dump.subarray(0, Math.floor(dump.length * 0.97)));
});
afterAll(() => folder.remove());

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr } = await palimpsest(...args, "--json");
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

async function refused(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await palimpsest(...args);
  expect([status, stdout]).toEqual([2, ""]);
  return stderr;
}

describe("log", () => {
  test("prints what dmesg would have printed", async () => {
    const { status, stdout, stderr } = await palimpsest("log", VMCORE);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout.split("\n").slice(1)).toEqual([
      "[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=/dev/vellum ro quiet",
      "[    0.041000] Booting paravirtualized kernel on bare hardware",
      "[    1.204000] vellum: a clean sheet",
      "[    1.310500] quire: bound to vellum",
      "",
    ]);
  });

  test("chooses", async () => {
    expect((await palimpsest("log", VMCORE, "--level", "warn", "--decode", "--caller")).stdout).toBe(
      "kern  :warn  : [    1.310500][    T1] quire: bound to vellum\n",
    );
    const result = await json<LogResult>("log", VMCORE, "--last", "2");
    expect(result.messages.map(({ text }) => text)).toEqual(["vellum: a clean sheet", "quire: bound to vellum"]);
    expect(result).toMatchObject({ leftOut: 3, complete: true, buffer: { kind: "printk_ringbuffer", bytes: 4096 } });
    expect(await refused("log", VMCORE, "--level", "loud")).toContain("It takes 0 to 7, or emerg");
  });

  test("of a dump that was cut off tells what is not there", async () => {
    const { status, stdout, stderr } = await palimpsest("log", at("cut"));
    expect(stderr).not.toMatch(/\n\s+at /);
    if (status === 0) expect(stdout.split("\n").length).toBe(6);
    else expect([status, stderr]).toEqual([2, expect.stringContaining("not in the dump")]);
  });
});

describe("cpus", () => {
  test("tells task, functions and interrupts", async () => {
    const { status, stdout } = await palimpsest("cpus", VMCORE);
    expect(status).toBe(0);
    const [, first] = stdout.split("\n\n");
    expect(first).toMatch(
      /^CPU 0 {2}swapper\/0 \(PID 0\), interrupts on\n {2}rip ffffffff[0-9a-f]{8} \(\w\) native_safe_halt\+0x/,
    );
    expect(first).toContain("default_idle+0x");
    expect(first).not.toContain("r15");
    expect((await palimpsest("cpus", VMCORE, "--registers")).stdout).toContain("r15");
  });

  test("as JSON", async () => {
    const { cpus } = await json<CpusResult>("cpus", VMCORE);
    expect(cpus.map(({ cpu, online, mode, task }) => [cpu, online, mode, task?.comm])).toEqual([
      [0, true, "kernel", "swapper/0"],
      [1, true, "kernel", "swapper/1"],
    ]);
    expect(cpus[0].levels[0].frames.map(({ symbol }) => symbol.replace(/\+.*/, ""))).toEqual(
      expect.arrayContaining(["native_safe_halt", "default_idle", "do_idle", "cpu_startup_entry"]),
    );
    expect(cpus[0].waits).toEqual([]);
  });

  test("names the lock that the bug's CPUs wait for", async () => {
    const bug = makeBugSpecimen();
    writeFileSync(at("bug"), bug.dump);
    const { cpus } = await json<CpusResult>("cpus", at("bug"));
    const waits = cpus.flatMap((cpu) => cpu.waits);
    expect(waits[0]).toMatchObject({
      kind: "spinlock",
      implementation: "ticket",
      lock: { symbol: "floppy_lock [floppy]" },
    });
    expect((await palimpsest("cpus", at("bug"))).stdout).toContain(
      "waits for the ticket spinlock floppy_lock [floppy] at ffffffffa",
    );
    const log = await json<LogResult>("log", at("bug"));
    expect(log).toMatchObject({ complete: true, buffer: { kind: "characters", bytes: 16384 } });
    expect(log.messages[0].text).toMatch(/^Linux version 3\.0/);
  });
});

describe("read", () => {
  test("shows bytes", async () => {
    const { status, stdout } = await palimpsest("read", VMCORE, "linux_banner", "16");
    expect(status).toBe(0);
    const [head, row, end] = stdout.split("\n");
    expect(head).toMatch(/^[0-9a-f]{16} {2}\([rRdD]\) linux_banner {2}physical [0-9a-f]{16}$/);
    expect(row).toMatch(/^ {2}[0-9a-f]{16}: 4c 69 6e 75 78 20 76 65 72 73 69 6f 6e 20 36 2e {2}Linux version 6\.$/);
    expect(end).toBe("");
    const virtual = await json<ReadResult>("read", VMCORE, "linux_banner", "0x10");
    const physical = await json<ReadResult>("read", VMCORE, virtual.physical ?? "", "16", "--physical");
    expect(physical.rows[0].bytes).toBe(virtual.rows[0].bytes);
  });

  test("shows what is not there", async () => {
    const { physical } = await json<ReadResult>("read", VMCORE, "linux_banner", "16");
    const far = await json<ReadResult>("read", VMCORE, physical ?? "", "0x1000000", "--physical");
    expect(far.rows.length).toBeGreaterThan(16);
    expect(far.absent.length).toBeGreaterThan(0);
    const { status, stdout } = await palimpsest("read", VMCORE, physical ?? "", "0x1000000", "--physical");
    expect(status).toBe(2);
    expect(stdout).toMatch(
      / {2}[0-9a-f]{16}: [\d,]+ bytes not in the dump: this page of the machine's memory was not saved\n/,
    );
    expect(await refused("read", VMCORE, "0xffffffffffff0000")).toContain("0xffffffffffff0000: is not mapped");
    expect(await refused("read", VMCORE, "0xfffffffffffff", "--physical")).toContain(
      "this physical address is not in the dump",
    );
  });

  test("shows a structure by its members", async () => {
    const { stdout } = await palimpsest("read", VMCORE, "init_task", "--type", "task_struct");
    expect(stdout).toMatch(/\+0x[0-9a-f]+ +comm +"swapper\/0"/);
    const { type } = await json<ReadResult>("read", VMCORE, "init_task", "--type", "struct task_struct.comm");
    expect(type).toMatchObject({ name: "struct task_struct.comm", members: [{ path: "comm", value: '"swapper/0"' }] });
  });

  test.each([
    [["no_such_symbol"], "the symbol no_such_symbol is missing"],
    [["_stext", "0"], '"0" is no length'],
    [["_stext", "-5"], '"-5" is no length'],
    [["_stext", "99999999999"], "is no length: 1 to 16777216 bytes"],
    [["_stext", "--type", "task_strukt"], "did you mean struct task_struct?"],
    [["_stext", "--type", "task_struct.com"], "did you mean comm?"],
    [["_stext", "--physical", "--type", "u64"], "--type shows virtual addresses only"],
    [["_stext", "--physical"], '"_stext" is no physical address'],
  ])("refuses %j", async (args, message) => {
    expect(await refused("read", VMCORE, ...args)).toContain(message);
  });
});

describe("types", () => {
  test("shows offsets, sizes and C types", async () => {
    const { status, stdout } = await palimpsest("types", VMCORE, "list_head", "printk_info", "system_states");
    expect(status).toBe(0);
    expect(stdout).toContain("struct list_head  16 bytes  BTF in the dump");
    expect(stdout).toMatch(/\n {2}\+0x8 +struct list_head \* +prev {2}8\n/);
    expect(stdout).toMatch(/\n {2}\+0x13:5 +u8 +level : 3 {2}1\n/);
    expect(stdout).toMatch(/\n {2}SYSTEM_RUNNING +=\x20\d\n/);
  });

  test("lists names", async () => {
    expect((await palimpsest("types", VMCORE, "prb_*")).stdout.split("\n")).toEqual(
      expect.arrayContaining(["struct prb_desc", "struct prb_desc_ring", "struct prb_data_ring"]),
    );
    expect((await palimpsest("types", VMCORE, "struct *", "--limit", "1")).stdout).toMatch(
      /^struct .*\n… \d+ more names/,
    );
    expect((await palimpsest("types", VMCORE, "no_*such")).status).toBe(2);
  });

  test("says what it does not know", async () => {
    expect(await refused("types", VMCORE, "struct modul")).toContain("did you mean struct module");
    expect(await refused("types", VMCORE, "zzzzzz")).toContain("palimpsest types DUMP PATTERN");
  });
});
