// The account on real Debian 6.1 dumps: no byte without explanation, the tables' sizes as the sites' counts, and every
// fault found at its place.
import { beforeAll, describe, expect, it } from "vitest";
import type { DumpOptions } from "../../lab/dump-types.ts";
import type { AuditResult } from "../../src/findings/results.ts";
import { auditWithFaults, legalFaults, type OpenedDump, openForFaults, randomFaults, score } from "./faults.ts";
import { diagnose, type LabDump, labDump } from "./support.ts";

/** Flavours, CPU counts, CPU models and KASLR, each at least once with each. */
const GUESTS: readonly (readonly [string, string, Partial<DumpOptions>])[] = [
  ["amd64, 4 CPUs, -cpu max, KASLR", "6.1", { memoryMegabytes: 256 }],
  ["amd64, 1 CPU, -cpu qemu64, nokaslr", "6.1", { cpus: 1, cpuModel: "qemu64", append: "nokaslr" }],
  ["cloud, 2 CPUs, -cpu max, KASLR", "6.1-cloud", { cpus: 2 }],
];

describe.each(GUESTS)("Debian 6.1 %s", (_name, flavour, options) => {
  let dump: LabDump;
  let opened: OpenedDump;
  beforeAll(async () => {
    dump = await labDump(flavour, options);
    opened = await openForFaults(dump.path("elf"), dump.vmlinuz, dump.modules);
  });

  it("explains every byte", async () => {
    const { exitCode, stdout } = await diagnose(dump, "--json");
    const result = JSON.parse(stdout) as AuditResult;
    expect(result.findings).toEqual([]);
    expect(result.notChecked).toEqual([]);
    expect(exitCode).toBe(0);
    const { verdicts, bytes } = result.account;
    expect(verdicts).toMatchObject({ stale: 0, foreign: 0, equivalent: 0, inFlight: 0, absent: 0 });
    expect(verdicts.built + verdicts.patched).toBe(bytes);
    expect(verdicts.patched).toBeGreaterThan(400_000);
    const sum = Object.values(result.account.mechanisms).reduce((total, counts) => total + counts.bytes, 0);
    expect(sum).toBe(verdicts.patched);
  });

  it("counts as many sites as the image's tables have entries", () => {
    const core = opened.images.core;
    const size = (name: string): number => core?.elf.section(name)?.size ?? 0;
    const sites = (name: string) => opened.clean.objects[0].mechanisms.get(name)?.sites;
    expect(sites("alternatives")).toBe(size(".altinstructions") / 12);
    expect(sites("paravirt")).toBe(Math.ceil(size(".parainstructions") / 16));
    expect(sites("retpolines")).toBe(size(".retpoline_sites") / 4);
    expect(sites("returns")).toBe(size(".return_sites") / 4);
    const { kernel } = opened;
    const entries = (start: string, stop: string, entry: number) =>
      Number(kernel.address(stop) - kernel.address(start)) / entry;
    expect(sites("jump-labels")).toBe(entries("__start___jump_table", "__stop___jump_table", 16));
    expect(sites("static-calls")).toBe(entries("__start_static_call_sites", "__stop_static_call_sites", 8));
    expect(sites("ftrace")).toBe(entries("__start_mcount_loc", "__stop_mcount_loc", 8));
  });

  it("finds 2,000 one-byte faults at their exact addresses and nothing else", () => {
    const faults = randomFaults(opened, 2000, 838026);
    expect(score(auditWithFaults(opened, faults), faults)).toEqual({ missed: [], invented: [], inexact: [] });
  });

  it("names the other legal form that a site holds", () => {
    const faults = legalFaults(opened, 10, 838026);
    const audit = auditWithFaults(opened, faults);
    expect(score(audit, faults)).toMatchObject({ missed: [], invented: [] });
    const findings = new Map(audit.objects.flatMap((object) => object.findings).map((each) => [each.address, each]));
    for (const fault of faults) {
      const finding = findings.get(`0x${fault.address.toString(16)}`);
      expect(finding, `${fault.mechanism}: ${fault.form}`).toMatchObject({ id: "site.stale" });
    }
    const mechanisms = new Set(faults.map((fault) => fault.mechanism));
    for (const name of ["returns", "jump-labels", "static-calls", "ftrace", "smp-locks", "paravirt", "retpolines"]) {
      expect(mechanisms).toContain(name);
    }
  });
});
