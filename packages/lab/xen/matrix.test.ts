import { describe, expect, it } from "vitest";
import { judgeCi } from "./ci.ts";
import { type Diagnosed, readDiagnosis, summary } from "./diagnose-run.ts";
import { mixtureOf, outcomeOf, xenMatrix } from "./matrix.ts";
import { agreement, renderXenTable, replaceTable, type XenRowResult } from "./matrix-report.ts";
import { readVerdict } from "./predict.ts";
import { lostToEmulation } from "./runs.ts";
import type { Outcome, XenFacts } from "./types.ts";

const clean: Diagnosed = {
  exitCode: 0,
  findings: [],
  complete: true,
  proofs: [],
  hypervisor: "Xen HVM",
  pvSpinlocks: "yes",
  callbackVector: "yes",
  rips: ["0xffffffff81000000"],
  ripsAgree: true,
  cpuSeconds: 3,
  trouble: undefined,
};

function factsOf(outcome: Outcome, name = "6.1/hvm-2"): XenFacts {
  const row = xenMatrix.find((each) => each.name === name);
  if (!row) throw new Error(name);
  const times = { createSeconds: 10, bootSeconds: 60, dumpSeconds: 30, beats: 8 };
  return {
    ...row.guest,
    flavour: "6.1",
    release: "6.1.0-x",
    xenVersion: "4.17",
    dom0Release: "6.1.0-x",
    qemuVersion: "7.2",
    xenArguments: "",
    date: "2026-01-02",
    result: { outcome, reason: "why", ...times },
    tries: [{ outcome, reason: "why" }],
    vcpuStates: [{ vcpu: 0, rip: "0xffffffff81000000", state: "-b-" }],
    coreBytes: 1,
  };
}

function resultOf(
  name: string,
  foretold: Outcome | undefined,
  outcome: Outcome,
  diagnosed: Partial<Diagnosed> = {},
): XenRowResult {
  return {
    name,
    prediction: { outcome: foretold, by: "prove" },
    facts: factsOf(outcome, name),
    diagnosed: { ...clean, ...diagnosed },
    reason: "",
  };
}

const LATE = "6.1/hvm-2/late-native/none";

describe("the matrix on Xen", () => {
  it("has every row once, late ones after the healthy one that they start from", () => {
    const names = xenMatrix.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const [index, { from }] of xenMatrix.entries())
      if (from !== undefined) expect(names.indexOf(from)).toBeLessThan(index);
    expect(xenMatrix.filter(({ from }) => from !== undefined && !names.includes(from))).toEqual([]);
  });

  it("knows which sites meet after each repair", () => {
    expect(mixtureOf({ to: "xen", repair: "none" })).toBe("Xen's lock without its wait, native unlock");
    expect(mixtureOf({ to: "xen", repair: "slots-back" })).toBe("Xen's lock without its wait, native unlock");
    expect(mixtureOf({ to: "native", repair: "none" })).toBe("Xen's lock, native unlock");
    expect(mixtureOf({ to: "native", repair: "slots-back" })).toBe("Xen's lock, native unlock");
    expect(mixtureOf({ to: "xen", repair: "patched-again" })).toBe("native lock, native unlock");
    expect(mixtureOf({ to: "native", repair: "back-before-load" })).toBe("Xen's lock, Xen's unlock");
  });

  it("foretells from verdicts, and nothing from what proves nothing", () => {
    expect(["safe", "hang", "not-proven", "unsupported"].map(outcomeOf)).toEqual([
      "booted",
      "hung",
      undefined,
      undefined,
    ]);
    expect(readVerdict('{"verdict":"hang"}')).toBe("hang");
    expect(readVerdict("")).toBeUndefined();
  });
});

describe("whether prediction, outcome and diagnosis agree", () => {
  it("asks all three", () => {
    expect(agreement(resultOf("6.1/hvm-2", "booted", "booted"))).toBe("yes");
    expect(agreement(resultOf("6.1/hvm-2", "booted", "hung"))).toBe("no");
    expect(agreement(resultOf("6.1/hvm-2", "booted", "booted", { findings: ["text.foreign"] }))).toBe("no");
    expect(agreement(resultOf("6.1/hvm-2", "booted", "booted", { complete: false }))).toBe("no");
    expect(agreement(resultOf(LATE, "hung", "hung", { findings: ["hang.lock-pair", "lock.mixed"] }))).toBe("yes");
    expect(agreement(resultOf(LATE, "hung", "hung", { findings: ["lock.mixed"] }))).toBe("no");
    expect(agreement(resultOf(LATE, "hung", "hung", { findings: ["hang.lock-pair"], trouble: "x" }))).toBe("no");
    expect(agreement(resultOf(LATE, "booted", "booted", { findings: ["slot.late-write"] }))).toBe("yes");
    expect(agreement(resultOf(LATE, "booted", "booted", { findings: ["hang.lock-pair"] }))).toBe("no");
    expect(agreement(resultOf(LATE, undefined, "hung"))).toBe("not foretold");
    expect(agreement({ ...resultOf(LATE, "hung", "hung"), facts: undefined })).toBe("not run");
  });

  it("makes a table, names what was not run, and goes between the marks", () => {
    const table = renderXenTable([resultOf("6.1/hvm-2", "booted", "booted", { ripsAgree: false })], ["7/hvm-2"]);
    expect(table).toContain(
      "| 6.1/hvm-2 | booted: prove | booted: why | no finding | yes | 60 | 30 | 1 | differs | 2026-01-02 |",
    );
    expect(table).toContain("Not run: 7/hvm-2.");
    expect(replaceTable("a\n<!-- rows: begin -->\nold\n<!-- rows: end -->\nb\n", "new\n")).toBe(
      "a\n<!-- rows: begin -->\n\nnew\n\n<!-- rows: end -->\nb\n",
    );
    expect(() => replaceTable("a", "new")).toThrow(/marks/);
  });
});

describe("a core's diagnosis in short", () => {
  const info = JSON.stringify({
    registers: [{ rip: "0xffffffff81000000" }],
    paravirtualisation: {
      hypervisor: [
        { name: "hypervisor", value: "Xen PVH" },
        { name: "xen_pvspin", value: "no" },
      ],
    },
  });
  const how = { exitCode: 1, complaint: "", cpuSeconds: 1 };

  it("takes findings, proofs and registers from the reports", () => {
    const report = {
      schema: "palimpsest/diagnose/1",
      complete: true,
      findings: [{ id: "a" }, { id: "a" }],
      proofs: [{ verdict: "hang", lock: "l", unlock: "u" }],
    };
    const read = readDiagnosis(JSON.stringify(report), info, factsOf("hung"), how);
    expect(read).toMatchObject({
      findings: ["a"],
      proofs: ["hang  l with u"],
      hypervisor: "Xen PVH",
      pvSpinlocks: "no",
    });
    expect(read).toMatchObject({ callbackVector: "unknown", ripsAgree: true, trouble: undefined });
    expect(readDiagnosis("{}", info.replace("81000000", "81000001"), factsOf("hung"), how).ripsAgree).toBe(false);
    expect(readDiagnosis("{}", info, { vcpuStates: [] }, how).ripsAgree).toBeUndefined();
    expect(readDiagnosis("oops", "", factsOf("hung"), { ...how, complaint: "a\nbad core\n" }).trouble).toBe(
      "exit code 1: bad core",
    );
  });

  it("tells it all on a page", () => {
    const page = summary(
      {
        ...factsOf("hung", LATE),
        tries: [
          { outcome: "emulation", reason: "gone" },
          { outcome: "hung", reason: "why" },
        ],
      },
      clean,
    );
    expect(page).toContain("outcome: hung: why (create 10 s, boot 60 s, dump 30 s)");
    expect(page).toContain("  try 1: emulation: gone");
    expect(page).toContain("vCPU 0: rip 0xffffffff81000000 -b-; in the dump 0xffffffff81000000");
    expect(page).toContain("diagnose: exit status 0, no finding");
  });
});

describe("a guest that stands still", () => {
  it("is emulation's when nothing was done to it and its core tells nothing", () => {
    expect(lostToEmulation(factsOf("hung"), clean)).toBe("hung, why; its core tells no reason");
    expect(lostToEmulation(factsOf("hung"), { ...clean, trouble: "no kernel" })).toMatch(/no kernel in its memory yet/);
    expect(lostToEmulation(factsOf("hung"), { ...clean, findings: ["hang.lock-pair"] })).toBeUndefined();
    expect(lostToEmulation(factsOf("hung", LATE), clean)).toBeUndefined();
    expect(lostToEmulation(factsOf("booted"), clean)).toBeUndefined();
    expect(lostToEmulation(factsOf("crashed"), clean)).toBeUndefined();
  });
});

describe("what CI makes of it", () => {
  it("tells a failure of the product from one of the emulation", () => {
    expect(judgeCi(factsOf("booted"), clean).exitCode).toBe(0);
    expect(judgeCi(factsOf("hung"), clean).exitCode).toBe(3);
    expect(judgeCi(factsOf("crashed"), clean).exitCode).toBe(3);
    for (const wrong of [
      { findings: ["site.stale"] },
      { complete: false },
      { ripsAgree: false },
      { trouble: "x" },
      { hypervisor: "KVM" },
    ])
      expect(judgeCi(factsOf("booted"), { ...clean, ...wrong }).exitCode).toBe(1);
  });
});
