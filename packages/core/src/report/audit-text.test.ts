// When something hangs and the bytes are right, the report says that it is no patching fault and folds the account; with one
// wrong byte, or when not all was compared, it does not.
import { expect, test } from "vitest";
import type { AuditResult } from "../results/results.ts";
import type { Finding, HangCause } from "../results/types.ts";
import { auditText } from "./audit-text.ts";
import { PLAIN } from "./paint.ts";

const base = { address: "0xffffffff82000000", length: 8, object: "vmlinux", symbol: "ink", notes: [] } as const;
const HANG: HangCause = {
  ...base,
  id: "hang.lost-unlock",
  severity: "error",
  title: "CPU 1 spins for ink",
  chain: [],
  behind: 0,
  source: "dump",
};
const ASKED: HangCause = { ...HANG, id: "crash.panic", severity: "note", title: "sysrq triggered crash" };
const FOREIGN: Finding = {
  ...base,
  id: "text.foreign",
  severity: "error",
  title: "1 byte",
  layers: { built: "90", intended: "90", found: "cc" },
};

function textOf(findings: readonly Finding[], more: Partial<AuditResult> = {}, detailed = false): string {
  const verdicts = { built: 4000, patched: 96, equivalent: 0, inFlight: 0, stale: 0, foreign: 0, absent: 0 };
  const kernel = { release: "6.1", buildId: null, version: "", kaslrOffset: null, cpus: 2, hypervisor: null };
  const result: AuditResult = {
    schema: "palimpsest/diagnose/1",
    tool: "",
    dump: { path: "vmcore", format: "elf", size: 4096 },
    kernel: { ...kernel, cpuModel: "" },
    objects: [{ name: "vmlinux", checked: true, bytes: 4096, image: "vmlinuz" }],
    account: { bytes: 4096, verdicts, mechanisms: {}, freed: 0 },
    generated: { kinds: {}, pieces: 0, bytes: 0, checked: 0, differing: 0 },
    complete: true,
    findings,
    findingsLeftOut: 0,
    notChecked: [],
    notes: [],
    ...more,
  };
  return auditText(result, { limit: 0, detailed }, PLAIN);
}

const RIGHT = "Code and slots are right: not a patching fault (4,096 bytes compared).";

test("a hang whose bytes are right says so, and folds the account", () => {
  const text = textOf([HANG, ASKED]);
  expect(text).toContain(RIGHT);
  expect(text).not.toContain("bytes of code");
  expect(text.indexOf("hang.lost-unlock")).toBeLessThan(text.indexOf(RIGHT));
});

test.each<[string, readonly Finding[], Partial<AuditResult>, boolean]>([
  ["a wrong byte beside it", [HANG, FOREIGN], {}, false],
  ["no hang", [], {}, false],
  ["a panic that was asked for", [ASKED], {}, false],
  ["foreign bytes that were only counted", [HANG], { findingsLeftOut: 2 }, false],
  ["the account that was asked for", [HANG], {}, true],
])("%s: the account is shown", (_name, findings, more, detailed) => {
  const text = textOf(findings, more, detailed);
  expect(text).not.toContain("patching fault");
  expect(text).toContain("bytes of code");
});

test("what was not compared is not called right", () => {
  const text = textOf([HANG], { complete: false });
  expect(text).not.toContain(RIGHT);
  expect(text).toContain("No patching fault in the 4,096 bytes that could be compared; not everything could be.");
});
