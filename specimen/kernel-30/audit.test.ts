// The real audit on the bug and its variants: what was patched from pv_lock_ops before it changed is stale, all else
// is as this kernel's state calls for.
import { expect, test, vi } from "vitest";
import { auditDump } from "../../src/audit/audit.ts";
import { BufferSource } from "../../src/bytes/source.ts";
import { openKernelImage } from "../../src/image/kernel-image.ts";
import { openModuleImage } from "../../src/image/module-image.ts";
import { openKernel } from "../../src/kernel/open.ts";
import { openDump } from "../../src/memory/open.ts";
import { type BugOptions, makeBugSpecimen } from "./specimen.ts";

// Each case makes a kernel and audits it whole; a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

function audit(options: BugOptions) {
  const specimen = makeBugSpecimen(options);
  const kernel = openKernel(openDump(new BufferSource("dump", specimen.dump)));
  const core = openKernelImage(new BufferSource("vmlinuz", specimen.vmlinuz));
  const files = specimen.modules;
  const result = auditDump(kernel, {
    core,
    module: ({ name }) => openModuleImage(new BufferSource(name, files.get(`${name}.ko`)!)),
  });
  expect([result.problems, result.notChecked, result.unknown]).toEqual([[], [], []]);
  return { specimen, findings: result.objects.flatMap((o) => o.findings) };
}

test.each([
  { variant: "healthy" },
  { variant: "healthy", cpus: 1, wide: true },
  { variant: "pv-off" },
  { variant: "healthy", alone: true },
  { variant: "both-xen" },
  { variant: "2.6.38" },
] as const)("%j: no findings", (options) => {
  expect(audit(options).findings).toEqual([]);
});

test("hung: every lock site of the core, and nothing else, holds another slot value's call", () => {
  const { specimen, findings } = audit({});
  const sites = specimen.truth.sites.filter((s) => s.object === "vmlinux" && s.slot?.startsWith("pv_lock_ops."));
  expect(new Set(findings.map((f) => f.id))).toEqual(new Set(["site.stale"]));
  expect(findings.map((f) => BigInt(f.address))).toEqual(sites.map((s) => s.address).sort((a, b) => (a < b ? -1 : 1)));
});
