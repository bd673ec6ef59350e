// The real readers and the real audit on the specimen: two independent accounts of one kernel must agree.
import { expect, test, vi } from "vitest";
import { auditDump } from "../../core/src/audit/audit.ts";
import { formatAddress } from "../../core/src/bytes/brand.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { openKernelImage } from "../../core/src/image/kernel-image.ts";
import { openModuleImage } from "../../core/src/image/module-image.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { makeSpecimen, type SpecimenOptions } from "./specimen.ts";

// Each case makes a kernel and audits it whole; a busy machine takes its time.
vi.setConfig({ testTimeout: 30_000 });

function audit(options: SpecimenOptions) {
  const specimen = makeSpecimen(options);
  const kernel = openKernel(openDump(new BufferSource("specimen", specimen.dump)));
  const core = openKernelImage(new BufferSource("vmlinuz", specimen.vmlinuz));
  const modules = new Map(
    [...specimen.modules].map(([name, bytes]) => [name, openModuleImage(new BufferSource(name, bytes))]),
  );
  const result = auditDump(kernel, { core, module: (m) => modules.get(`${m.name}.ko`) });
  expect([result.problems, result.notChecked, result.unknown]).toEqual([[], [], []]);
  const found = result.objects.flatMap((o) => o.findings).map((f) => `${f.id} ${f.address}+${f.length} ${f.object}`);
  const truth = specimen.truth.findings.map((f) => `${f.id} ${formatAddress(f.address)}+${f.length} ${f.object}`);
  return { found: found.sort(), truth: truth.sort() };
}

test.each([{}, { cpus: 1 }, { mitigations: true }, { cpus: 4, mitigations: true }])(
  "a healthy kernel %j has no findings",
  (o) => {
    expect(audit(o)).toEqual({ found: [], truth: [] });
  },
);

test("the tampered one has exactly those that were put in", () => {
  const { found, truth } = audit({ tamper: true });
  expect(truth.length).toBe(3);
  expect(found).toEqual(truth);
});
