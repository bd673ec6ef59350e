// The real audit on the bug and its variants: what was patched from pv_lock_ops before it changed is stale, all else
// is as this kernel's state calls for.
import { expect, test, vi } from "vitest";
import { auditDump } from "../../core/src/audit/audit.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { openKernelImage } from "../../core/src/image/kernel-image.ts";
import { openModuleImage } from "../../core/src/image/module-image.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { type BugOptions, type BugSpecimen, makeBugSpecimen } from "./specimen.ts";

// Each case makes a kernel and audits it whole; a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

function audit(options: BugOptions, tamper?: (specimen: BugSpecimen) => Uint8Array) {
  const specimen = makeBugSpecimen(options);
  const dump = tamper?.(specimen) ?? specimen.dump;
  const kernel = openKernel(openDump(new BufferSource("dump", dump)));
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
  { variant: "healthy", hypercalls: true },
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

test("a changed stub of the hypercall page, and nothing else of it, is foreign", () => {
  const SCHED_OP = Uint8Array.of(0xb8, 29, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xc3);
  const { specimen, findings } = audit({ variant: "healthy", hypercalls: true, format: "elf" }, ({ dump }) => {
    const at = Buffer.from(dump).indexOf(SCHED_OP);
    const changed = dump.slice();
    changed[at + 1] = 32;
    return changed;
  });
  const stub = specimen.truth.symbols.get("hypercall_page")! + 29n * 32n;
  expect(findings.map((f) => [f.id, BigInt(f.address), f.length])).toEqual([["text.foreign", stub + 1n, 1]]);
});

test.each([{ variant: "hung" }, { variant: "healthy" }, { variant: "both-xen" }] as const)(
  "%j without an image: what memory tells of the lock sites",
  (options) => {
    const specimen = makeBugSpecimen(options);
    const kernel = openKernel(openDump(new BufferSource("dump", specimen.dump)));
    const { objects } = auditDump(kernel, { core: undefined, module: () => undefined });
    const stale = options.variant === "hung" ? [...specimen.truth.lockSites] : [];
    const inCore = stale.filter(([key]) => key.startsWith("vmlinux ")).reduce((sum, [, count]) => sum + count, 0);
    const findings = objects.flatMap((each) => each.findings);
    expect(findings.map((each) => each.id)).toEqual(new Array(inCore).fill("site.stale"));
    expect(inCore > 0).toBe(options.variant === "hung");
  },
);
