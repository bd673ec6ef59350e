// The account on real Debian dumps of each series: no byte without explanation, the tables' sizes as the sites' counts,
// and every fault told at its place. The dumps are rows of the matrix, which CI runs too, so that none is made twice.
import { beforeAll, describe, expect, it } from "vitest";
import type { AuditResult } from "../../packages/core/src/results/results.ts";
import { auditDamaged, type OpenedDump, openForFaults } from "../../packages/lab/damage.ts";
import { scoreFaults } from "../../packages/lab/fault-score.ts";
import { chooseFaults } from "../../packages/lab/faults.ts";
import { diagnose, type LabDump, labDump, labHas } from "./support.ts";

/** Row of the matrix, bytes of a struct alt_instr (12 up to 6.2, 14 since 6.3; BTF), least bytes patched. */
const GUESTS: readonly (readonly [row: string, altInstr: number, patched: number])[] = [
  ["5.10/plain", 12, 400_000],
  ["6.1/plain", 12, 400_000],
  ["6.1/1cpu", 12, 400_000],
  ["6.1-cloud/plain", 12, 400_000],
  ["6.12/plain", 14, 500_000],
  ["7/plain", 14, 600_000],
];

/** Entries of __mcount_loc in the image that are not zero: since 6.12 the build clears those of weak functions. */
function mcountEntries({ kernel, images, clean }: OpenedDump): number {
  const [start, stop] = ["__start_mcount_loc", "__stop_mcount_loc"].map(
    (name) => kernel.address(name) - BigInt(clean.kaslrOffset ?? 0),
  );
  const section = images.core?.elf.sections.find(
    ({ address, size }) => address <= start && stop <= address + BigInt(size),
  );
  if (section === undefined || images.core === undefined) return -1;
  const bytes = images.core.elf.bytes(section).slice(Number(start - section.address), Number(stop - section.address));
  return new BigUint64Array(bytes.buffer).filter((entry) => entry !== 0n).length;
}

for (const [row, altInstr, patched] of GUESTS) {
  describe.skipIf(!(await labHas(row.split("/")[0])))(row, () => {
    let dump: LabDump;
    let opened: OpenedDump;
    beforeAll(async () => {
      dump = await labDump(row);
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
      expect(verdicts.patched).toBeGreaterThan(patched);
      const sum = Object.values(result.account.mechanisms).reduce((total, counts) => total + counts.bytes, 0);
      expect(sum).toBe(verdicts.patched);
    });

    it("counts as many sites as the image's tables have entries", () => {
      const { kernel, images, clean } = opened;
      const size = (name: string): number | undefined => images.core?.elf.section(name)?.size;
      const sites = (name: string) => clean.objects[0].mechanisms.get(name)?.sites;
      const entries = (start: string, stop: string, entry: number) =>
        Number(kernel.address(stop) - kernel.address(start)) / entry;
      expect(sites("alternatives")).toBe((size(".altinstructions") ?? 0) / altInstr);
      expect(sites("retpolines")).toBe((size(".retpoline_sites") ?? 0) / 4);
      expect(sites("returns")).toBe((size(".return_sites") ?? 0) / 4);
      const paravirt = size(".parainstructions");
      expect(sites("paravirt")).toBe(paravirt && Math.ceil(paravirt / 16));
      const sealed = size(".ibt_endbr_seal");
      expect(sites("endbr")).toBe(sealed && sealed / 4);
      expect(sites("jump-labels")).toBe(entries("__start___jump_table", "__stop___jump_table", 16));
      expect(sites("static-calls")).toBe(entries("__start_static_call_sites", "__stop_static_call_sites", 8));
      expect(sites("ftrace")).toBe(mcountEntries(opened));
    });

    it("tells 2,000 faults at their exact bytes and nothing else", () => {
      const faults = chooseFaults(opened, 2000, 838026);
      const { places, found, trouble } = scoreFaults(opened, auditDamaged(opened, faults), faults);
      expect(trouble).toEqual([]);
      expect(places).toBe(2000);
      expect(found.foreign).toBeGreaterThan(900);
      expect(found.stale).toBeGreaterThan(700);
      const mechanisms = new Set(faults.map(({ what }) => what.split(":")[0]));
      for (const name of [
        "returns",
        "jump-labels",
        "static-calls",
        "ftrace",
        "smp-locks",
        "retpolines",
        "alternatives",
      ]) {
        expect(mechanisms).toContain(name);
      }
    });
  });
}
