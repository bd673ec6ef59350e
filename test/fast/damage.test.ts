// Hundreds of broken dumps, images and modules: each ends in an answer or in an error of the library's own, in bounded
// time, and every account still adds up. An exception of any other kind fails the test, with the seed that made it.
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { cpusOf } from "../../packages/core/src/analysis/cpus.ts";
import { infoOf } from "../../packages/core/src/analysis/info.ts";
import { logOf } from "../../packages/core/src/analysis/log.ts";
import { readVirtual } from "../../packages/core/src/analysis/read.ts";
import { auditDump, openCore } from "../../packages/core/src/audit/audit.ts";
import { auditResult } from "../../packages/core/src/audit/result.ts";
import { siteView } from "../../packages/core/src/audit/site-view.ts";
import { setNativeGunzip } from "../../packages/core/src/bytes/decompress/index.ts";
import { PalimpsestError } from "../../packages/core/src/bytes/errors.ts";
import { BufferSource } from "../../packages/core/src/bytes/source.ts";
import { openKernelImage } from "../../packages/core/src/image/kernel-image.ts";
import { openModuleImage } from "../../packages/core/src/image/module-image.ts";
import type { KernelImage, ModuleImage } from "../../packages/core/src/image/types.ts";
import type { Kernel } from "../../packages/core/src/kernel/kernel.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import { auditText } from "../../packages/core/src/report/audit-text.ts";
import { cpusText } from "../../packages/core/src/report/cpus-text.ts";
import { infoText } from "../../packages/core/src/report/info-text.ts";
import { logText } from "../../packages/core/src/report/log-text.ts";
import { PLAIN } from "../../packages/core/src/report/paint.ts";
import { readText } from "../../packages/core/src/report/read-text.ts";
import { makeSpecimen } from "../../packages/specimen/index.ts";
import { damaged, Random, targetsOf } from "./damage.ts";

/** Of one damaged input; tens are usual. */
const MOST_MS = 5000;
/** Of tens of them, on a machine that does other things too. */
const TIMEOUT = 60_000;

const specimen = makeSpecimen();
const kdump = makeSpecimen({ format: "kdump", mitigations: true }).dump;
const payload = specimen.vmlinuz.subarray(Buffer.from(specimen.vmlinuz).indexOf(Buffer.from([0x1f, 0x8b, 0x08])));
const vmlinux = new Uint8Array(gunzipSync(payload));

const openCoreImage = (bytes: Uint8Array): KernelImage => openKernelImage(new BufferSource("vmlinux", bytes));
const openDumped = (bytes: Uint8Array): Kernel => openKernel(openDump(new BufferSource("vmcore", bytes)));
const moduleOf = (bytes: Uint8Array): ModuleImage => openModuleImage(new BufferSource("module", bytes));
const core = openCoreImage(vmlinux);
const modules = new Map([...specimen.modules].map(([name, bytes]) => [name, moduleOf(bytes)]));

/** All that the commands do with a kernel and its images. */
function everything(kernel: Kernel, image: KernelImage, module = (name: string) => modules.get(name)): void {
  const info = infoOf(kernel);
  infoText(info, PLAIN);
  cpusText(cpusOf(kernel), true, PLAIN);
  survives(() => logText(logOf(kernel), { decode: true, caller: true }, PLAIN));
  survives(() => readText(readVirtual(kernel, kernel.address("init_task"), undefined, "task_struct"), PLAIN));
  const audit = auditDump(kernel, { core: image, module: ({ name }) => module(`${name}.ko`) }, { force: true });
  const result = auditResult("palimpsest/diagnose/1", "test", kernel, audit);
  const { bytes, verdicts } = result.account;
  expect(Object.values(verdicts).reduce((sum, count) => sum + count)).toBe(bytes);
  expect(JSON.parse(JSON.stringify(result))).toBeTypeOf("object");
  auditText(result, { limit: 0, detailed: true }, PLAIN);
  const place = kernel.find("vfs_write");
  if (place !== undefined && audit.objects.length > 0) siteView(kernel, audit.objects[0], place);
}

/** Runs it; true when it came to its end, false when the library refused. */
function survives(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    expect(error.message).not.toBe("");
    return false;
  }
}

function damageAll(bytes: Uint8Array, seeds: number, run: (bytes: Uint8Array) => void): { answered: number } {
  const targets = targetsOf(bytes);
  let answered = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const start = performance.now();
    try {
      if (survives(() => run(damaged(bytes, targets, new Random(seed))))) answered++;
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
    }
    expect(performance.now() - start, `milliseconds of seed ${seed}`).toBeLessThan(MOST_MS);
  }
  return { answered };
}

describe("what is broken", { timeout: TIMEOUT }, () => {
  test("an ELF dump", () => {
    const { answered } = damageAll(specimen.dump, 60, (bytes) => everything(openDumped(bytes), core));
    expect(answered).toBeGreaterThan(40);
  });

  test("the headers and notes of an ELF dump", () => {
    const head = specimen.dump.subarray(0, 8192);
    damageAll(head, 40, (bytes) => {
      const dump = specimen.dump.slice();
      dump.set(bytes);
      everything(openDumped(dump), core);
    });
  });

  test("a kdump", () => {
    damageAll(kdump, 40, (bytes) => everything(openDumped(bytes), core));
  });

  test("a kernel image", () => {
    const kernel = openDumped(specimen.dump);
    damageAll(vmlinux, 40, (bytes) => everything(kernel, openCoreImage(bytes)));
  });

  test("a packed kernel image", () => {
    setNativeGunzip((packed, limit) => gunzipSync(packed, { maxOutputLength: limit }));
    const kernel = openDumped(specimen.dump);
    damageAll(specimen.vmlinuz, 8, (bytes) => openCore(kernel, openCoreImage(bytes)));
  });

  test.each([...specimen.modules])("a module, %s", (name, whole) => {
    const kernel = openDumped(specimen.dump);
    damageAll(whole, 60, (bytes) => {
      everything(kernel, core, (each) => (each === name ? moduleOf(bytes) : modules.get(each)));
    });
  });
});
