// A kernel that KASLR moved, and an image that does not tell what moves with it: nothing sure can be said of the core, and
// nothing is.
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { auditDump } from "../../packages/core/src/audit/audit.ts";
import { auditResult } from "../../packages/core/src/audit/result.ts";
import { setNativeGunzip } from "../../packages/core/src/bytes/decompress/index.ts";
import { BufferSource } from "../../packages/core/src/bytes/source.ts";
import { openKernelImage } from "../../packages/core/src/image/kernel-image.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import { makeSpecimen } from "../../packages/specimen/index.ts";

setNativeGunzip((packed) => new Uint8Array(gunzipSync(packed)));
const specimen = makeSpecimen();
const payload = specimen.vmlinuz.subarray(Buffer.from(specimen.vmlinuz).indexOf(Buffer.from([0x1f, 0x8b, 0x08])));
const vmlinux = new Uint8Array(gunzipSync(payload));
const { relocations } = openKernelImage(new BufferSource("vmlinux", vmlinux));
const words =
  (relocations?.abs64.length ?? 0) + (relocations?.abs32.length ?? 0) + 3 + (relocations?.inverse32.length ?? 0);
const behind = vmlinux.length - words * 4;
const kernel = openKernel(openDump(new BufferSource("vmcore", specimen.dump)));

function account(image: Uint8Array) {
  const core = openKernelImage(new BufferSource("vmlinux", image));
  const audit = auditDump(kernel, { core, module: () => undefined });
  const { complete, findings, objects, notChecked } = auditResult("palimpsest/diagnose/1", "test", kernel, audit);
  const foreign = findings.filter(({ id, object }) => id === "text.foreign" && object === "vmlinux").length;
  const checked = objects.find(({ name }) => name === "vmlinux")?.checked;
  return { complete, foreign, checked, reason: notChecked.find(({ object }) => object === "vmlinux")?.reason };
}

it("is checked with its relocations", () => {
  expect(account(vmlinux)).toMatchObject({ checked: true, foreign: 0, reason: undefined });
});

it.each<[string, Uint8Array, RegExp]>([
  [
    "none",
    vmlinux.subarray(0, behind),
    /^a usable relocation table of vmlinux is missing; this boot moved the kernel by/,
  ],
  [
    "a damaged table",
    Uint8Array.from(vmlinux, (byte, i) => (i === behind + 6 ? byte ^ 0x40 : byte)),
    /names places outside/,
  ],
])("cannot be placed with %s", (_what, image, reason) => {
  const told = account(image);
  expect(told).toMatchObject({ complete: false, checked: false, foreign: 0 });
  expect(told.reason).toMatch(reason);
});
