// The bug's kernel and its healthy variants, made by the specimen generator: what is told, and that nothing is told where
// both sides belong together.
import { expect, test, vi } from "vitest";
import { type BugOptions, makeBugSpecimen } from "../../../../specimen/index.ts";
import { auditDump } from "../../audit/audit.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openKernelImage } from "../../image/kernel-image.ts";
import { openModuleImage } from "../../image/module-image.ts";
import { openKernel } from "../../kernel/open.ts";
import { openDump } from "../../memory/open.ts";
import { lockFindings } from "./lock-findings.ts";

vi.setConfig({ testTimeout: 30_000 });

function findingsOf(options: BugOptions) {
  const specimen = makeBugSpecimen(options);
  const kernel = openKernel(openDump(new BufferSource("dump", specimen.dump)));
  const core = openKernelImage(new BufferSource("vmlinuz", specimen.vmlinuz));
  const audit = auditDump(kernel, {
    core,
    module: ({ name }) => openModuleImage(new BufferSource(name, specimen.modules.get(`${name}.ko`)!)),
  });
  return { specimen, findings: lockFindings(kernel, audit.objects) };
}

test.each([{ variant: "healthy" }, { variant: "pv-off" }, { variant: "both-xen" }, { variant: "2.6.38" }] as const)(
  "%j: nothing",
  (options) => {
    expect(findingsOf(options).findings).toEqual([]);
  },
);

test.each([{}, { cpus: 1, wide: true }] as const)(
  "hung %j: floppy_lock, its two implementations and its word",
  (options) => {
    const { specimen, findings } = findingsOf(options);
    const [mixed, ...late] = findings;
    if (mixed.id !== "lock.mixed") throw new Error(`${mixed.id} comes first`);
    expect(mixed.title).toBe("floppy_lock [floppy] is taken by __ticket_spin_lock and released by xen_spin_unlock");
    expect(mixed.object).toBe("floppy");
    const [lock] = mixed.locks;
    expect([lock.stuck, lock.fields.head]).toEqual([true, 0]);
    expect(lock.why).toMatch(/released by xen_spin_unlock, which does not advance head 0$/);
    expect(lock.waiting[0].function).toMatch(/^__ticket_spin_lock\+/);
    expect(lock.releasedAt[0]).toMatch(/^redo_fd_request\+0x[0-9a-f]+ \[floppy\] \(xen_spin_unlock\)$/);
    const core = specimen.truth.sites.filter((s) => s.object === "vmlinux" && s.slot?.startsWith("pv_lock_ops."));
    expect(mixed.notes.join(" ")).toContain(`pv_lock_ops was changed after ${core.length} sites`);
    expect(mixed.modulesAfter).toEqual(["floppy"]);
    expect(late.every((each) => each.id === "slot.late-write")).toBe(true);
    const told = late.flatMap((each) => (each.id === "slot.late-write" ? [each.sites.before.vmlinux] : []));
    expect(told.reduce((a, b) => a + b, 0)).toBe(core.length);
  },
);
