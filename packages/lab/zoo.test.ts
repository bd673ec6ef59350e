import { describe, expect, it } from "vitest";
import { findFlavour } from "./flavours.ts";
import type { MatrixResult } from "./matrix-report.ts";
import { bootRows } from "./run-zoo.ts";
import { rowOfDay, zoo } from "./zoo.ts";
import { rowConfig, zooFlavour, zooPackage } from "./zoo-build.ts";
import { requireRow, selectZoo } from "./zoo-command.ts";
import { allConfig, refusedOptions } from "./zoo-config.ts";
import { renderZoo } from "./zoo-report.ts";

describe("the zoo", () => {
  it("has at least 16 kernels of every series, each under a name of its own", () => {
    expect(zoo.length).toBeGreaterThanOrEqual(16);
    expect(new Set(zoo.map(({ name }) => name)).size).toBe(zoo.length);
    expect(new Set(zoo.map(({ series }) => series))).toEqual(new Set(["5.10", "6.1", "6.12", "7"]));
    expect(zoo.filter(({ series }) => !findFlavour(series))).toEqual([]);
  });
  it("has every compiler", () => {
    expect(new Set(zoo.map(({ compiler }) => compiler))).toEqual(new Set(["gcc-bookworm", "gcc-trixie", "clang-16"]));
  });
  // What Debian's own kernels never are.
  it.each([
    ...["SMP=n", "KALLSYMS_ALL=n", "MODULES=n", "PARAVIRT=n", "CC_OPTIMIZE_FOR_SIZE=y", "FUNCTION_TRACER=n"],
    ...["PREEMPT_NONE=y", "PREEMPT=y", "PREEMPT_LAZY=y", "PREEMPT_RT=y", "PREEMPT_DYNAMIC=y", "NR_CPUS=8192"],
    ...["CFI_CLANG|CFI=y", "FINEIBT=y", "PROVE_LOCKING=y", "KASAN=y", "DEBUG_SPINLOCK=y", "DEBUG_INFO_BTF=y"],
  ])("has a kernel with %s", (option) => {
    const named = option.replace(/^.*\|/, "");
    const has = zoo.filter((row) => refusedOptions([named], allConfig(rowConfig(row))).length === 0);
    expect(has).not.toEqual([]);
  });
  it("boots each multiprocessor with 1, 2 and 4 CPUs, and a uniprocessor with one", () => {
    for (const row of zoo) {
      const cpus = new Set(row.boots.map(({ options }) => options.cpus));
      const up = rowConfig(row).includes("SMP=n");
      const wanted = up ? [1] : row.config.includes("NR_CPUS=2") ? [1, 2] : [1, 2, 4];
      expect([row.name, ...cpus]).toEqual([row.name, ...wanted]);
    }
  });
  it("has a kernel for CI on each day of the week, none of which needs clang", () => {
    const days = [0, 1, 2, 3, 4, 5, 6].map(rowOfDay);
    expect(new Set(days.map((row) => row?.name)).size).toBe(7);
    for (const row of days) expect(row?.compiler).toMatch(/^gcc-/);
    expect(rowOfDay(7)).toBeUndefined();
  });
  it("tells each kernel where QEMU's firmware interface lies, which writes VMCOREINFO into the dump", () => {
    for (const { options } of zoo.flatMap(({ boots }) => boots))
      expect(options.append).toContain("qemu_fw_cfg.ioport=");
  });
});

describe("a kernel's name", () => {
  const [row] = zoo;
  it("is a flavour of its own, and a version by source, recipe and compiler", () => {
    expect(findFlavour(zooFlavour(row))).toBeUndefined();
    const name = zooPackage(row, "5.10.1-1", "gcc 12");
    expect(name).toMatchObject({
      package: `zoo-${row.name}`,
      version: expect.stringMatching(/^5\.10\.1-1\+[0-9a-f]{8}$/),
    });
    expect(zooPackage(row, "5.10.1-1", "gcc 13")).not.toEqual(name);
    expect(zooPackage({ ...row, config: [...row.config, "KASAN=y"] }, "5.10.1-1", "gcc 12")).not.toEqual(name);
    expect(zooPackage({ ...row, make: ["V=1"] }, "5.10.1-1", "gcc 12")).not.toEqual(name);
  });
  it("must be one of the table's", () => {
    expect(requireRow(row.name)).toBe(row);
    expect(() => requireRow("6.1-upp")).toThrow('no kernel "6.1-upp" in the zoo; there are 5.10-small,');
  });
});

describe("selectZoo", () => {
  it.each<[string | undefined, string[], number]>([
    ["^6.1-up/", ["6.1-up"], 1],
    ["6.1-lockdep/", ["6.1-lockdep"], 3],
    ["-up/1cpu", ["6.1-up", "6.12-up", "7-up"], 3],
    ["nothing", [], 0],
    [undefined, zoo.map(({ name }) => name), zoo.flatMap(({ boots }) => boots).length],
  ])("%s: %j, %i boots", (pattern, names, count) => {
    const { rows, wanted } = selectZoo(pattern);
    expect(rows.map(({ name }) => name)).toEqual(names);
    expect(rows.flatMap(bootRows).filter(({ name }) => wanted(name))).toHaveLength(count);
  });
});

describe("renderZoo", () => {
  const [first, second] = zoo;
  const built = new Map([[first, { version: "5.10.1-1+0a", compiler: "gcc | 12", seconds: 60 }]]);
  const nothing = { sites: 0, bytes: 0, verdicts: {}, findings: 0, cost: undefined, guest: "", mitigations: "" };
  const result: MatrixResult = {
    name: `${first.name}/1cpu`,
    outcome: "pass",
    reason: "",
    release: "5.10.1-zoo",
    ...nothing,
  };
  it("says what each kernel is, which were not built, and has a line for each dump", () => {
    const text = renderZoo([first, second], built, [result]);
    expect(text).toContain("# Zoo\n");
    expect(text).toContain(`| ${first.name} | ${first.about} | gcc / 12 | 5.10.1-1+0a |`);
    expect(text).toContain(`| ${second.name} | ${second.about} | ${second.compiler} | not built |`);
    expect(text).toContain("There are 2 kernels. 1 of them were not built for this table.");
    expect(text).toContain("**1 of 1 pass.**");
    expect(text).toContain(`| ${first.name}/1cpu | 5.10.1-zoo |`);
  });
});
