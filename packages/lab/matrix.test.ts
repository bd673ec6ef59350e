import { describe, expect, it } from "vitest";
import { findFlavour } from "./flavours.ts";
import { matrix, selectRows } from "./matrix.ts";
import { judge, type MatrixResult, mitigationsOf, passedBefore, renderMatrix, totals } from "./matrix-report.ts";
import { parseCost } from "./measure.ts";

describe("the matrix", () => {
  const main = ["5.10", "6.1", "6.12", "7"];
  const needed = ["plain", "function", "filter", "kprobe", "events", "mitigations-off", "1cpu"];
  it("has each main kernel with what it must hold with, and at least 40 dumps", () => {
    const names = matrix.map(({ name }) => name);
    for (const flavour of main) for (const what of needed) expect(names).toContain(`${flavour}/${what}`);
    expect(matrix.length).toBeGreaterThanOrEqual(40);
    expect(new Set(names).size).toBe(names.length);
  });
  it("names kernels that exist, and has no two rows of one guest", () => {
    expect(matrix.filter(({ flavour }) => !findFlavour(flavour))).toEqual([]);
    const guests = matrix.map(({ flavour, options }) => JSON.stringify([flavour, options]));
    expect(new Set(guests).size).toBe(guests.length);
  });
  it("has a part for each main kernel that CI runs", () => {
    const ci = matrix.filter((row) => row.ci);
    expect(ci).toHaveLength(15);
    for (const flavour of main) expect(ci.some((row) => row.flavour === flavour)).toBe(true);
  });
  it.each([
    [undefined, matrix.length],
    ["^6.1/kprobe", 2],
    ["/kprobe$", 5],
    ["^6.1-*plain", 2],
    ["6.1(", 0],
  ])("selects by pattern %j: %i rows", (pattern, count) => {
    expect(selectRows(matrix, pattern)).toHaveLength(count);
  });
});

const dump = { name: "6.1/plain", release: "6.1.0", guest: "4 CPUs, max", mitigations: "v2: Retpolines" };
const cost = { wallSeconds: 1.5, cpuSeconds: 1.25, peakMegabytes: 300 };
const report = (verdicts: object, more: object = {}) =>
  JSON.stringify({
    schema: "palimpsest/diagnose/1",
    account: { bytes: 1230, verdicts, mechanisms: { ftrace: { sites: 4 }, returns: { sites: 1 } } },
    findings: [],
    notChecked: [],
    ...more,
  });

describe("judge", () => {
  const healthy = { built: 10, patched: 5, equivalent: 1, inFlight: 0, stale: 0, foreign: 0, absent: 0 };
  // exit code, output, outcome, reason
  it.each<[number, string, MatrixResult["outcome"], string]>([
    [0, report(healthy), "pass", ""],
    [1, report({ ...healthy, stale: 2 }), "fail", "2 stale bytes; exit code 1"],
    [0, report({ ...healthy, foreign: 1 }), "fail", "1 foreign bytes"],
    [0, report(healthy, { findings: [{ id: "unknown.mechanism" }] }), "fail", "1 findings: unknown.mechanism"],
    [0, report(healthy, { notChecked: ["xfs: no file"] }), "fail", "not checked: xfs: no file"],
    [0, report({}), "fail", "no byte accounted for"],
    [0, report({ built: "many" }), "fail", "no byte accounted for"],
    [2, "", "error", "exit code 2, no JSON: palimpsest: cannot"],
    [0, "[]", "error", "exit code 0, schema undefined"],
    [0, '{"schema": "other/1"}', "error", 'exit code 0, schema "other/1"'],
  ])("exit code %i, %s: %s", (exitCode, stdout, outcome, reason) => {
    expect(judge(dump, { exitCode, stdout, stderr: "warning\npalimpsest: cannot\n", cost })).toMatchObject({
      outcome,
      reason,
    });
  });
});

describe("judge of a guest with something wrong", () => {
  const account = { built: 10, patched: 5, stale: 6, foreign: 0 };
  const late = ["lock.mixed", "site.stale"];
  const found = (...ids: string[]) => report(account, { findings: ids.map((id) => ({ id })) });
  it.each<[number, string, MatrixResult["outcome"], string]>([
    [1, found("lock.mixed", "site.stale", "site.stale"), "pass", ""],
    [1, found("lock.mixed"), "fail", "not found: site.stale"],
    [1, found("lock.mixed", "site.stale", "text.foreign"), "fail", "1 findings: text.foreign"],
    [0, found(), "fail", "not found: lock.mixed, site.stale; exit code 0"],
    [1, report({ ...account, foreign: 2 }, { findings: late.map((id) => ({ id })) }), "fail", "2 foreign bytes"],
  ])("exit code %i, %s: %s", (exitCode, stdout, outcome, reason) => {
    expect(judge(dump, { exitCode, stdout, stderr: "", cost }, late)).toMatchObject({ outcome, reason, wrong: true });
  });

  it("leaves its bytes out of the document's sums", () => {
    const judged = judge(dump, { exitCode: 1, stdout: found(...late), stderr: "", cost }, late);
    expect(renderMatrix([judged])).toContain("Bytes: built 0, patched 0, equivalent 0, inFlight 0, stale 0,");
  });
});

describe("renderMatrix", () => {
  const pass = judge(dump, { exitCode: 0, stdout: report({ built: 1200, patched: 30 }), stderr: "", cost });
  const gone: MatrixResult = {
    ...pass,
    name: "5.10/plain",
    outcome: "unavailable",
    reason: "a | b",
    cost: undefined,
    verdicts: {},
  };
  it("counts outcomes and bytes and has a line for each dump", () => {
    expect(totals([pass, gone])).toBe("1 of 2 pass, 1 unavailable");
    const text = renderMatrix([pass, gone]);
    expect(text).toContain(
      "| 6.1/plain | 6.1.0 | 4 CPUs, max | v2: Retpolines | 5 | 1,230 | 30 | 0 | 0 | 0 | 0 |  | 1.25 | 300 | pass |",
    );
    expect(text).toContain("**unavailable** a / b |");
    expect(text).toContain("At most 1.25 s of CPU and\n300 MB");
  });
  it("sums up the faults", () => {
    const text = renderMatrix([{ ...pass, faults: { places: 100, foreign: 50, stale: 40, equivalent: 10 } }]);
    expect(text).toContain("share of 100 faults");
    expect(text).toContain("50 foreign, 40 stale, 10 equivalent");
    expect(text).toContain("| 100 of 100 |");
  });
  it("renders no rows", () => {
    expect(renderMatrix([])).toContain("0 of 0 pass");
  });
});

describe("a record of results", () => {
  const line = (...outcomes: MatrixResult["outcome"][]) =>
    JSON.stringify(outcomes.map((outcome, i) => ({ name: i === 0 ? "6.1/a" : `6.1/a#${i + 1}`, outcome })));
  it.each<[string, string, number]>([
    ["", "6.1/a", 0],
    [line("pass", "pass"), "6.1/a", 2],
    [line("pass", "pass"), "6.1/b", 0],
    [line("pass", "fail"), "6.1/a", 0],
    [`${line("fail")}\n${line("pass")}\n`, "6.1/a", 1],
    [`${line("pass")}\n${line("unavailable")}\n`, "6.1/a", 0],
  ])("%j has %s passed %i times", (record, row, count) => {
    expect(passedBefore(record, row)).toHaveLength(count);
  });
});

describe("mitigationsOf", () => {
  it("keeps what changes code and what this boot needed", () => {
    const vulnerabilities = {
      spectre_v2: "Mitigation: Retpolines; STIBP: disabled; RSB filling",
      retbleed: "Mitigation: Stuffing",
      meltdown: "Mitigation: PTI",
      indirect_target_selection: "Not affected",
    };
    expect(mitigationsOf(vulnerabilities)).toBe("v2: Retpolines; retbleed: Stuffing");
    expect(mitigationsOf({})).toBe("");
  });
});

describe("parseCost", () => {
  it("reads GNU time's line, also after a line about the exit code", () => {
    const wanted = { wallSeconds: 2.5, cpuSeconds: 1.75, peakMegabytes: 102.4 };
    expect(parseCost("2.50 1.50 0.25 100000\n")).toEqual(wanted);
    expect(parseCost("Command exited with non-zero status 1\n2.50 1.50 0.25 100000\n")).toEqual(wanted);
    expect(() => parseCost("")).toThrow('GNU time wrote ""');
  });
});
