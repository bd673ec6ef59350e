// A module that the kernel is just creating has nothing to check yet; one whose state is nonsense is a gap in the account.
import { expect, it } from "vitest";
import { auditResult } from "../../packages/core/src/audit/result.ts";
import { addressAdd } from "../../packages/core/src/bytes/brand.ts";
import { BufferSource } from "../../packages/core/src/bytes/source.ts";
import { auditDamaged, openDamageable } from "../../packages/lab/damage.ts";
import { makeSpecimen } from "../../packages/specimen/index.ts";

it.each([
  [0, true, undefined],
  [3, true, "it is just being created (MODULE_STATE_UNFORMED), nothing of it runs yet"],
  [9, false, "its state is none that is known"],
])("module state %i: complete %s", (state, complete, reason) => {
  const { dump, vmlinuz, modules } = makeSpecimen();
  const opened = openDamageable(
    new BufferSource("vmcore", dump),
    new BufferSource("vmlinuz", vmlinuz),
    (name) => new BufferSource(name, modules.get(`${name}.ko`) ?? new Uint8Array()),
  );
  const { kernel } = opened;
  const [{ name, address }] = kernel.modules;
  const at = addressAdd(address, kernel.structures.offset("struct module", "state"));
  const audit = auditDamaged(opened, [{ address: at, bytes: Uint8Array.of(state, 0, 0, 0) }]);
  const result = auditResult("palimpsest/audit/1", "test", kernel, audit);
  expect(result.findings).toEqual([]);
  expect(result.complete).toBe(complete);
  expect(result.notChecked).toEqual(reason === undefined ? [] : [{ object: name, reason }]);
  expect(result.objects.find((object) => object.name === name)?.checked).toBe(reason === undefined);
});
