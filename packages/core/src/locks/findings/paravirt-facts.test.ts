// The section "Paravirtualisation" on specimens: what the slots hold, and which spinlocks the kernel has after all.
import { expect, test, vi } from "vitest";
import { type BugOptions, makeBugSpecimen, makeSpecimen } from "../../../../specimen/index.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openKernel } from "../../kernel/open.ts";
import { openDump } from "../../memory/open.ts";
import { paravirtLines } from "../../report/paravirt-text.ts";
import { paravirtFacts } from "./paravirt-facts.ts";

vi.setConfig({ testTimeout: 30_000 });

const factsOf = (dump: Uint8Array) => paravirtFacts(openKernel(openDump(new BufferSource("dump", dump))));
const bug = (options: BugOptions) => factsOf(makeBugSpecimen(options).dump);
const plain = {
  bold: (text: string) => text,
  dim: (text: string) => text,
} as Parameters<typeof paravirtLines>[1];

test("the bug's kernel: Xen functions in every lock slot, while the core still takes tickets", () => {
  const facts = bug({});
  expect(facts.spinlocks).toBe("ticket");
  const unlock = facts.lockSlots.find(({ name }) => name === "pv_lock_ops.spin_unlock");
  expect(unlock).toMatchObject({ symbol: "xen_spin_unlock", implementation: "Xen byte lock", hypervisor: "Xen" });
  expect(unlock?.value).toMatch(/^0xffffffff8[0-9a-f]{7}$/);
  const line = paravirtLines(facts, plain).find((each) => each.includes("pv_lock_ops.spin_unlock"));
  expect(line).toMatch(/ffffffff8[0-9a-f]{7} xen_spin_unlock {2}Xen byte lock, Xen$/);
});

test("without the late switch the same slots hold the ticket functions", () => {
  const slots = bug({ variant: "healthy" }).lockSlots;
  expect(slots.length).toBeGreaterThanOrEqual(6);
  const acquire = slots.filter(({ name }) => /spin_(lock|trylock|unlock)$/.test(name));
  expect(acquire.map(({ implementation }) => implementation)).toEqual(["ticket", "ticket", "ticket"]);
});

test("built without paravirtual spinlocks: said, and no slot is made up", () => {
  const facts = bug({ variant: "pv-off" });
  expect(facts.lockSlots).toEqual([]);
  expect(facts.spinlocks).toBe("ticket; no slots (CONFIG_PARAVIRT_SPINLOCKS is off)");
});

test("a kernel of today: the queued lock, native slots counted and not listed", () => {
  const facts = factsOf(makeSpecimen({}).dump);
  expect(facts.spinlocks).toMatch(/^native queued/);
  const native = facts.otherSlots.filter((slot) => slot.native).length;
  expect(native).toBeGreaterThan(0);
  expect(paravirtLines(facts, plain).join("\n")).toContain(`  ${native} more slot`);
  expect(facts.lockSlots.map(({ name }) => name).some((name) => name.endsWith("queued_spin_unlock"))).toBe(true);
});
