// The faults themselves on a made-up kernel: chosen by seed, each told by the audit; and what the score says when the
// audit misses one, tells it with another verdict or tells something that nobody did.
import { beforeAll, describe, expect, it } from "vitest";
import { BufferSource } from "../core/src/bytes/source.ts";
import { makeSpecimen } from "../specimen/index.ts";
import { auditDamaged, type OpenedDump, openDamageable } from "./damage.ts";
import { scoreFaults } from "./fault-score.ts";
import { chooseFaults, type Fault } from "./faults.ts";

const COUNT = 60;
let opened: OpenedDump;
let faults: Fault[];
beforeAll(() => {
  const { dump, vmlinuz, modules } = makeSpecimen();
  opened = openDamageable(
    new BufferSource("vmcore", dump),
    new BufferSource("vmlinuz", vmlinuz),
    (name) => new BufferSource(name, modules.get(`${name}.ko`) ?? new Uint8Array()),
  );
  faults = chooseFaults(opened, COUNT, 838026);
}, 30_000);

describe("faults", () => {
  it("are the same for the same seed, apart from each other, and change something", () => {
    expect(chooseFaults(opened, COUNT, 838026)).toEqual(faults);
    expect(chooseFaults(opened, COUNT, 1)).not.toEqual(faults);
    const ordered = faults.map(({ offset }) => offset).sort((a, b) => a - b);
    ordered.slice(1).forEach((offset, i) => {
      expect(offset - ordered[i]).toBeGreaterThanOrEqual(64);
    });
    for (const { bytes, held } of faults) expect(bytes).not.toEqual(held);
    expect(new Set(faults.map(({ expected }) => expected))).toContain("stale");
  });

  it("are all told, and nothing else", () => {
    const { places, found, trouble } = scoreFaults(opened, auditDamaged(opened, faults), faults);
    expect(trouble).toEqual([]);
    expect(places).toBe(faults.length);
    expect(found.foreign + found.stale + found.equivalent).toBe(places);
  });

  it("are missed when they are not there, and are never done when nobody knows of them", () => {
    const stale = faults.filter(({ expected }) => expected === "stale");
    const nothing = scoreFaults(opened, opened.clean, stale);
    expect(nothing.found.stale).toBe(0);
    expect(nothing.trouble).toHaveLength(stale.length);
    expect(nothing.trouble[0]).toMatch(/^equivalent instead of stale: 0xffffffff/);
    const [fault, ...others] = stale;
    const one = scoreFaults(opened, auditDamaged(opened, stale), others);
    expect(one.trouble).toHaveLength(1);
    expect(one.trouble[0]).toContain("never done: site.stale 0x");
    expect(one.trouble[0]).toContain(fault.address.toString(16));
    const wrong = scoreFaults(opened, auditDamaged(opened, stale), [{ ...fault, expected: "equivalent" }, ...others]);
    expect(wrong.trouble[0]).toMatch(/^stale instead of equivalent/);
  });
});
