// The note that names a boot step must be about the very write that the dump shows.
import { expect, test } from "vitest";
import { buildKernel, call, callSlot, type KernelSpec, RET, store, take } from "../boot-order/testing/build-kernel.ts";
import type { Finding, SlotLateWrite } from "../results/types.ts";
import { withBootSteps } from "./boot-steps.ts";

const KERNEL: KernelSpec = {
  functions: {
    start_kernel: [call("check_bugs"), call("rest_init"), RET],
    check_bugs: [take(7, "__parainstructions"), RET],
    rest_init: [store("lock_ops", "xen_spin_lock"), RET],
    user: [".site:", callSlot("lock_ops"), RET],
    ticket_spin_lock: [RET],
    xen_spin_lock: [RET],
  },
  data: { lock_ops: ["ticket_spin_lock"] },
  paravirt: ["user.site"],
};

function finding(address: string, value: string): SlotLateWrite {
  const base = { severity: "error" as const, address, length: 8, object: "vmlinux", symbol: "lock_ops", title: "" };
  const rest = { patchedTo: {}, sites: { before: {}, after: {} }, modulesAfter: [], places: [] };
  return { ...base, ...rest, id: "slot.late-write", notes: ["first"], slot: { name: "lock_ops", value, address } };
}

const notesOf = (findings: readonly Finding[]) => findings.flatMap(({ notes }) => notes);
const NONE = "No step of the boot that does this after the patching was found in the image.";

test.each([
  ["where the kernel was linked", "0xffffffff81800000", "xen_spin_lock", 0],
  ["where KASLR moved it", "0xffffffff91800000", "xen_spin_lock", 0x10000000],
])("the step, %s", (_name, address, value, offset) => {
  const { findings } = withBootSteps([finding(address, value)], buildKernel(KERNEL), offset);
  expect(notesOf(findings)).toEqual([
    "first",
    "The boot of this image does it after the patching: start_kernel → check_bugs patches, then start_kernel → rest_init stores xen_spin_lock.",
  ]);
});

test.each([
  ["another value", "0xffffffff81800000", "late_module_lock"],
  ["another slot", "0xffffffff81800008", "xen_spin_lock"],
])("none for %s", (_name, address, value) => {
  expect(notesOf(withBootSteps([finding(address, value)], buildKernel(KERNEL), 0).findings)).toEqual(["first", NONE]);
});

test("without an image, and with one that cannot tell", () => {
  const findings = [finding("0xffffffff81800000", "xen_spin_lock")];
  expect(withBootSteps(findings, undefined, 0)).toEqual({ findings, problems: [] });
  const { problems } = withBootSteps(findings, buildKernel({ ...KERNEL, symbols: false }), 0);
  expect(problems).toEqual([
    "which step of the boot writes the slot is not told: a symbol table in vmlinux is missing; it needs CONFIG_KALLSYMS or the ELF symbols of the unstripped vmlinux",
  ]);
});
