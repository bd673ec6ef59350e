// What a byte should be does not depend on what else was looked at before: every object alone, modules before the core and
// the other way round give the same intended layer.
import { describe, expect, test } from "vitest";
import { makeSpecimen } from "../../../specimen/kernel-6x/specimen.ts";
import { makeBugSpecimen } from "../../../specimen/kernel-30/specimen.ts";
import { BufferSource } from "../bytes/source.ts";
import { openKernelImage } from "../image/kernel-image.ts";
import { openModuleImage } from "../image/module-image.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import { openKernel } from "../kernel/open.ts";
import { openDump } from "../memory/open.ts";
import { auditDump, type ImageSet } from "./audit.ts";
import { Auditor, type OneAudit } from "./auditor.ts";

interface Specimen {
  readonly dump: Uint8Array;
  readonly vmlinuz: Uint8Array;
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

function opened({ dump, vmlinuz, modules }: Specimen): { kernel: Kernel; images: ImageSet } {
  const kernel = openKernel(openDump(new BufferSource("dump", dump)));
  const core = openKernelImage(new BufferSource("vmlinuz", vmlinuz));
  const module = ({ name }: KernelModule) => {
    const bytes = modules.get(`${name}.ko`);
    return bytes && openModuleImage(new BufferSource(`${name}.ko`, bytes));
  };
  return { kernel, images: { core, module } };
}

/** Intended bytes and who wrote them, of every region. */
function intended({ object }: OneAudit): unknown {
  return object?.replayed.space.regions.map((region) => [
    region.name,
    region.start,
    Buffer.from(region.intended).toString("hex"),
    Buffer.from(region.credit).toString("hex"),
  ]);
}

describe.each([
  ["a 6.1 kernel", () => makeSpecimen()],
  ["a tampered one", () => makeSpecimen({ tamper: true })],
  ["a 3.0 kernel", () => makeBugSpecimen()],
])("%s", (_name, make) => {
  const { kernel, images } = opened(make());
  const keys = [undefined, ...kernel.modules];
  const inOrder = new Auditor(kernel, images);
  const wanted = keys.map((key) => intended(inOrder.auditOne(key)));

  test("modules before the core", () => {
    const auditor = new Auditor(kernel, images);
    const backwards = [...keys].reverse().map((key) => intended(auditor.auditOne(key)));
    expect(backwards.reverse()).toEqual(wanted);
    expect(wanted.flat().length).toBeGreaterThan(keys.length);
  });

  test("each object alone", () => {
    expect(keys.map((key) => intended(new Auditor(kernel, images).auditOne(key)))).toEqual(wanted);
  });

  test("a site and the audit of everything go through one door", () => {
    const auditor = new Auditor(kernel, images);
    const first = auditor.auditOne(keys.at(-1)).object;
    const { objects } = auditDump(kernel, images, { auditor });
    expect(objects.at(-1)?.replayed).toBe(first?.replayed);
  });
});
