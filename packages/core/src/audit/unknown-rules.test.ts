// When a mechanism's sites deviate as a whole, that is one finding; when places here and there do, it is none of that.
import { describe, expect, it } from "vitest";
import { formatAddress, fromKernelOffset } from "../bytes/brand.ts";
import type { SiteStale, TextForeign } from "../results/types.ts";
import { PatchSpace, patchRegion, UNJUDGED } from "../sites/base/patch-space.ts";
import type { ObjectAudit } from "./object-audit.ts";
import { leaveOutUnknownRules } from "./unknown-rules.ts";

const TEXT = 0x1000000;

/** An object with so many sites of ftrace, of which so many are foreign; and foreign bytes beside sites. */
function audited(sites: number, deviating: number, outside = 0, from = TEXT, line = false): ObjectAudit {
  const findings: Partial<TextForeign>[] = [];
  for (let i = 0; i < deviating; i++) {
    const address = formatAddress(fromKernelOffset(from + i * 16));
    const layers = { built: "", intended: "", found: "" };
    findings.push({
      id: "text.foreign",
      address,
      length: 4,
      mechanism: "ftrace",
      site: { address, length: 5, layers },
    });
  }
  for (let i = 0; i < outside; i++) {
    findings.push({
      id: "text.foreign",
      address: formatAddress(fromKernelOffset(from + (line ? 11 : 6 + (i % 9)) + i * 16)),
      length: 1,
    });
  }
  const space = new PatchSpace([patchRegion(".text", from, new Uint8Array(16 * 2000), true)]);
  return {
    name: "vmlinux",
    findings,
    mechanisms: new Map([["ftrace", { sites, bytes: 0, stale: 0 }]]),
    replayed: {
      space,
      sites: [{ mechanism: "ftrace", offsets: Uint32Array.from({ length: sites }, (_, i) => from + i * 16) }],
    },
  } as unknown as ObjectAudit;
}

describe("leaveOutUnknownRules", () => {
  it("tells once what all sites have in common, and leaves them out", () => {
    const object = audited(1000, 500);
    expect(leaveOutUnknownRules([object])).toEqual([
      {
        id: "unknown.rule",
        mechanism: "ftrace",
        object: "vmlinux",
        address: fromKernelOffset(TEXT),
        length: 2000,
        what: "500 of 1000 sites hold what its known rules do not call for; its tables, records or compiler are of an unknown form",
      },
    ]);
    expect(object.replayed.space.regions[0].credit.filter((credit) => credit === UNJUDGED)).toHaveLength(2500);
  });

  it.each([
    ["the sites are few", audited(300, 199)],
    ["the share is small", audited(2000, 399)],
    ["bytes beside sites are foreign as well: damage", audited(1000, 500, 60)],
    ["nothing is foreign", audited(1000, 0)],
  ])("says nothing when %s", (_what, object) => {
    expect(leaveOutUnknownRules([object])).toEqual([]);
  });

  it("tells once what lies at one distance from many sites, whatever wrote it", () => {
    const object = audited(1000, 0, 400, TEXT, true);
    expect(leaveOutUnknownRules([object])).toMatchObject([
      {
        id: "unknown.rule",
        mechanism: "unknown",
        length: 400,
        what: "400 of 1000 places 5 bytes in front of a ftrace site hold what no known rule calls for",
      },
    ]);
    expect(object.replayed.space.regions[0].credit.filter((credit) => credit === UNJUDGED)).toHaveLength(400);
    expect(leaveOutUnknownRules([audited(1000, 0, 400)])).toEqual([]);
  });

  it("counts stale sites with the foreign ones, but not those behind one slot", () => {
    const stale = (object: ObjectAudit, slot?: object): ObjectAudit => ({
      ...object,
      findings: object.findings.map((finding) => ({ ...finding, id: "site.stale", slot }) as SiteStale),
    });
    expect(leaveOutUnknownRules([stale(audited(1000, 500), { name: "X86_FEATURE_RETHUNK" })])).toHaveLength(1);
    expect(leaveOutUnknownRules([stale(audited(1000, 500), { name: "pv_ops.lock.x", address: "0x1" })])).toEqual([]);
  });

  it("counts the sites of all objects", () => {
    expect(leaveOutUnknownRules([audited(5000, 150), audited(5000, 150, 0, 2 * TEXT)])).toEqual([]);
    expect(leaveOutUnknownRules([audited(500, 150), audited(500, 151, 0, 2 * TEXT)])).toHaveLength(1);
  });
});
