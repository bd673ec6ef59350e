// A module calls a function whose name the dump has lost (a damaged name table, a kernel that keeps no names of
// variables): its call is not judged, instead of being called foreign.
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { auditDump } from "../../packages/core/src/audit/audit.ts";
import { auditResult } from "../../packages/core/src/audit/result.ts";
import { BufferSource } from "../../packages/core/src/bytes/source.ts";
import { openKernelImage } from "../../packages/core/src/image/kernel-image.ts";
import { openModuleImage } from "../../packages/core/src/image/module-image.ts";
import type { Kernel } from "../../packages/core/src/kernel/kernel.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import type { SymbolTable } from "../../packages/core/src/symbols/types.ts";
import { makeSpecimen } from "../../packages/specimen/index.ts";

const NAME = "unregister_chrdev_region";

function without(table: SymbolTable, hidden: string): SymbolTable {
  const lookupAll = (name: string) => (name === hidden || name === `__ksymtab_${hidden}` ? [] : table.lookupAll(name));
  return Object.assign(Object.create(table) as SymbolTable, {
    lookupAll,
    lookup: (name: string) => lookupAll(name)[0],
  });
}

test("the calls of a function without a name are not judged", () => {
  const specimen = makeSpecimen();
  const whole = openKernel(openDump(new BufferSource("vmcore", specimen.dump)));
  const payload = Buffer.from(specimen.vmlinuz).indexOf(Buffer.from([0x1f, 0x8b, 0x08]));
  const core = openKernelImage(new BufferSource("vmlinux", gunzipSync(specimen.vmlinuz.subarray(payload))));
  const modules = new Map(
    [...specimen.modules].map(([name, bytes]) => [name, openModuleImage(new BufferSource(name, bytes))]),
  );
  const diagnose = (kernel: Kernel) =>
    auditResult(
      "palimpsest/diagnose/1",
      "test",
      kernel,
      auditDump(kernel, { core, module: ({ name }) => modules.get(`${name}.ko`) }),
    );
  expect(diagnose(whole)).toMatchObject({ findings: [], complete: true });
  const lost = Object.create(whole, {
    symbols: { value: without(whole.symbols, NAME) },
    allSymbols: { value: without(whole.allSymbols, NAME) },
  }) as Kernel;
  const { findings, complete, notChecked } = diagnose(lost);
  expect([findings, complete]).toEqual([[], false]);
  expect(notChecked.map(({ reason }) => reason).join()).toMatch(
    new RegExp(
      `relocations: the address of ${NAME} of 1 site is not in the dump, the first at \\w+\\+0x[0-9a-f]+ \\[vellum\\]`,
    ),
  );
});
