// A tracer was toggled while the dump was written: sites of before and of after, page by page.
import { expect, it } from "vitest";
import { formatAddress, fromKernelOffset } from "../bytes/brand.ts";
import type { Finding } from "../results/types.ts";
import { PatchSpace, patchRegion, UNJUDGED } from "../sites/base/patch-space.ts";
import type { ObjectAudit } from "./object-audit.ts";
import { leaveOutSmear } from "./smear.ts";

const TEXT = 0x1000000;
const SITES = 1024;
const NOP = [0x0f, 0x1f, 0x44, 0, 0];
const CALL = [0xe8, 1, 2, 3, 4];

/** Sites of 5 bytes, 64 a page, intended to be calls; those of the first half of the pages still hold what `held` says. */
function toggled(mechanism: string, id: "site.stale" | "text.foreign", held: readonly number[]): ObjectAudit {
  const built = new Uint8Array(SITES * 64);
  const region = patchRegion(".text", TEXT, built, true);
  const findings: Finding[] = [];
  for (let i = 0; i < SITES; i++) {
    built.set(NOP, i * 64);
    region.intended.set(CALL, i * 64);
  }
  const bytes = region.intended.slice();
  for (let i = 0; i < SITES / 2; i++) {
    bytes.set(held, i * 64);
    const address = formatAddress(fromKernelOffset(TEXT + i * 64));
    const place = { address, length: 5 };
    const more = id === "site.stale" ? { differs: [place] } : { site: place };
    findings.push({ ...{ id, mechanism, object: "vmlinux" }, ...place, ...more } as unknown as Finding);
  }
  const mechanisms = new Map([[mechanism, { sites: SITES, bytes: 0, stale: 0 }]]);
  const replayed = { space: new PatchSpace([region]) };
  return {
    name: "vmlinux",
    findings,
    mechanisms,
    replayed,
    found: new Map([[region, { bytes, absent: [] }]]),
  } as unknown as ObjectAudit;
}

const unjudged = ({ replayed }: ObjectAudit) =>
  replayed.space.regions[0].credit.filter((credit) => credit === UNJUDGED).length;

it("tells once that pages are of different moments, and leaves their sites out", () => {
  const object = toggled("ftrace", "site.stale", NOP);
  expect(leaveOutSmear([object], "no registers")).toEqual([
    {
      id: "unknown.smear",
      mechanism: "ftrace",
      object: "vmlinux",
      address: fromKernelOffset(TEXT),
      length: 2560,
      what: "512 of 1024 sites, in 8 pages, are of another moment than their state: the machine ran on while the dump was written (no registers)",
    },
  ]);
  expect(unjudged(object)).toBe(2560);
});

it.each<[string, ObjectAudit, string | undefined, number]>([
  ["a machine that stood still", toggled("ftrace", "site.stale", NOP), undefined, 0],
  ["what is patched once", toggled("paravirt", "site.stale", NOP), "live", 0],
  ["what no step of the kernel's is", toggled("ftrace", "text.foreign", [0x90, 0x90, 0x90, 0x90, 0xc3]), "live", 0],
  ["the old tail without INT3", toggled("ftrace", "text.foreign", [0x90, ...NOP.slice(1)]), "live", 0],
  ["INT3 with a tail of neither", toggled("ftrace", "text.foreign", [0xcc, 1, 2, 3, 5]), "live", 0],
  ["INT3 with the old tail", toggled("ftrace", "text.foreign", [0xcc, ...NOP.slice(1)]), "live", 2560],
  ["INT3 with the new tail", toggled("ftrace", "text.foreign", [0xcc, ...CALL.slice(1)]), "live", 2560],
  ["static keys", toggled("jump-labels", "site.stale", NOP), "live", 2560],
])("%s", (_what, object, live, bytes) => {
  leaveOutSmear([object], live);
  expect(unjudged(object)).toBe(bytes);
});
