// `palimpsest boot-order` on the specimens of bug 838026: what it says of the image that has the bug and of those that
// have it not, and that `diagnose` of the hung guest names the step of the boot.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { BootOrderResult } from "../../packages/core/src/results/boot-order-results.ts";
import { makeBugSpecimen } from "../../packages/specimen/index.ts";
import { palimpsest, temporaryFolder } from "./support.ts";

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder.path, ...names);

beforeAll(() => {
  for (const variant of ["hung", "both-xen", "2.6.38"] as const) {
    const specimen = makeBugSpecimen({ variant });
    mkdirSync(at(variant, "modules"), { recursive: true });
    writeFileSync(at(variant, "vmlinuz"), specimen.vmlinuz);
    writeFileSync(at(variant, "vmcore"), specimen.dump);
    for (const [name, bytes] of specimen.modules) writeFileSync(at(variant, "modules", name), bytes);
  }
});
afterAll(() => folder.remove());

test("the image of the bug writes its lock slots too late", async () => {
  const { stdout, stderr, status } = await palimpsest("boot-order", at("hung", "vmlinuz"), "--no-cache");
  expect([stderr, status]).toEqual(["", 1]);
  expect(stdout).toContain("patched   start_kernel → check_bugs → alternative_instructions\n");
  expect(stdout).toContain(
    "written   start_kernel → rest_init → kernel_init (thread) → xen_hvm_smp_prepare_cpus (through smp_ops+0x8, set by xen_hvm_smp_init) → xen_init_spinlocks\n",
  );
  expect(stdout).toMatch(/slot {6}pv_lock_ops\.spin_unlock += {2}xen_spin_unlock +147 sites\n/);
});

test.each([
  ["both-xen", "before"],
  ["2.6.38", "not reached"],
])("the image of %s writes them %s", async (variant, moment) => {
  const { stdout, status } = await palimpsest("boot-order", at(variant, "vmlinuz"), "--json", "--no-cache");
  const result = JSON.parse(stdout) as BootOrderResult;
  expect([status, result.findings]).toEqual([0, []]);
  expect(result.tables[0].writers.map((writer) => [writer.function, writer.boots[0].moment])).toEqual([
    ["xen_init_spinlocks", moment],
  ]);
});

test("the JSON is what its schema says", async () => {
  const schema = readFileSync(join(import.meta.dirname, "..", "..", "schema", "boot-order.json"), "utf8");
  const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(JSON.parse(schema));
  const { stdout } = await palimpsest("boot-order", at("hung", "vmlinuz"), "--json", "--no-cache");
  validate(JSON.parse(stdout));
  expect(validate.errors).toBe(null);
});

test("diagnose names the step", async () => {
  const { stdout } = await palimpsest("diagnose", at("hung", "vmcore"), "--no-cache");
  expect(stdout).toContain(
    "The boot of this image does it after the patching: start_kernel → check_bugs → alternative_instructions patches, then start_kernel → rest_init → kernel_init (thread) → xen_hvm_smp_prepare_cpus (through smp_ops+0x8, set by xen_hvm_smp_init) → xen_init_spinlocks stores xen_spin_is_locked.",
  );
});

test("what is no image", async () => {
  const { stderr, status } = await palimpsest("boot-order", at("hung", "vmcore"));
  expect([status, stderr.split("\n")[0]]).toEqual([2, expect.stringContaining("vmcore")]);
  const nowhere = await palimpsest("boot-order", at("nowhere"), "--json");
  expect([nowhere.status, JSON.parse(nowhere.stdout)]).toEqual([
    2,
    expect.objectContaining({ schema: "palimpsest/error/1" }),
  ]);
});
