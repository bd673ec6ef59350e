// Reports longer than what a function call takes as arguments: a kernel whose whole text was overwritten, 16 MiB of bytes.
import { expect, test } from "vitest";
import type { ReadResult } from "../results/read-results.ts";
import type { AuditResult } from "../results/results.ts";
import type { Finding } from "../results/types.ts";
import type { TypesResult } from "../results/types-results.ts";
import { auditText } from "./audit-text.ts";
import { PLAIN } from "./paint.ts";
import { readText } from "./read-text.ts";
import { typesText } from "./types-text.ts";

const MANY = 150_000;
const lines = (text: string): number => text.split("\n").length - 1;
const address = (i: number): string => `0xffffffff${(0x81000000 + 16 * i).toString(16)}`;

test("findings", () => {
  const base = { id: "text.foreign", severity: "error", length: 1, object: "vmlinux", symbol: "f", notes: [] } as const;
  const layers = { built: "90", intended: "90", found: "cc" };
  const findings: Finding[] = Array.from({ length: MANY / 4 }, (_, i) => ({
    ...base,
    address: address(i),
    title: "1 byte",
    layers,
  }));
  const verdicts = { built: 0, patched: 0, equivalent: 0, inFlight: 0, stale: 0, foreign: MANY, absent: 0 };
  const kernel = {
    release: "",
    buildId: null,
    version: "",
    kaslrOffset: null,
    cpus: null,
    hypervisor: null,
    cpuModel: "",
  };
  const result: AuditResult = {
    schema: "palimpsest/audit/1",
    tool: "",
    dump: { path: "", format: "", size: 0 },
    kernel,
    objects: [],
    account: { bytes: MANY, verdicts, mechanisms: {}, freed: 0 },
    generated: { kinds: {}, pieces: 0, bytes: 0, checked: 0, differing: 0 },
    complete: true,
    findings,
    findingsLeftOut: 0,
    notChecked: [],
    notes: [],
  };
  expect(lines(auditText(result, { limit: 0, detailed: true }, PLAIN))).toBeGreaterThan(MANY);
});

test("bytes", () => {
  const rows = Array.from({ length: MANY }, (_, i) => ({ address: address(i), bytes: "cc", ascii: "." }));
  const result = {
    address: address(0),
    physical: null,
    symbol: "",
    rows,
    absent: [],
    type: null,
  } as unknown as ReadResult;
  expect(lines(readText(result, PLAIN))).toBe(MANY + 1);
});

test("names", () => {
  const names = Array.from({ length: MANY }, (_, i) => `struct s${i}`);
  expect(lines(typesText({ types: [], names, leftOut: 0 } as unknown as TypesResult, PLAIN))).toBe(MANY);
});
