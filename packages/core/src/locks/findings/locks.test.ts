// The locks of the bug's kernel, made by the specimen generator: what its words, types and waiters tell, what is impossible,
// and what is said of a word of no known type.
import { expect, test, vi } from "vitest";
import { type BugOptions, makeBugSpecimen } from "../../../../specimen/index.ts";
import { auditDump } from "../../audit/audit.ts";
import { virtualAddress } from "../../bytes/brand.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openKernelImage } from "../../image/kernel-image.ts";
import { openModuleImage } from "../../image/module-image.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/open.ts";
import { resolvePlace } from "../../kernel/where.ts";
import { openDump } from "../../memory/open.ts";
import { implementationFacts } from "../code/implementation-facts.ts";
import { askedLock } from "../find/asked-lock.ts";
import { surveyedLocks } from "../find/lock-list.ts";
import { LockState } from "../lock-state.ts";
import { surveyLocks } from "./lock-survey.ts";

vi.setConfig({ testTimeout: 30_000 });

const made = new Map<string, ReturnType<typeof makeBugSpecimen>>();

function opened(options: BugOptions) {
  const specimen = made.get(JSON.stringify(options)) ?? makeBugSpecimen(options);
  made.set(JSON.stringify(options), specimen);
  const kernel = openKernel(openDump(new BufferSource("dump", specimen.dump)));
  const survey = () => {
    const core = openKernelImage(new BufferSource("vmlinuz", specimen.vmlinuz));
    const audit = auditDump(kernel, {
      core,
      module: ({ name }) => openModuleImage(new BufferSource(name, specimen.modules.get(`${name}.ko`)!)),
    });
    return surveyLocks(kernel, audit.objects);
  };
  return { kernel, survey };
}

const floppyLock = (kernel: Kernel) => resolvePlace(kernel, "floppy:floppy_lock").address;

test("hung: floppy_lock is impossible, with the CPUs that wait by ticket", () => {
  const { survey } = opened({});
  const found = survey();
  const { locks, findings, looked } = surveyedLocks(found.state, found);
  expect(looked).toBeGreaterThan(locks.length);
  expect(locks).toHaveLength(1);
  const [lock] = locks;
  expect([lock.symbol, lock.type, lock.state, lock.bytes]).toEqual([
    "floppy_lock [floppy]",
    "ticket spinlock",
    "impossible",
    "00 05 00 00",
  ]);
  expect(lock.fields).toEqual({ head: 0, tail: 5 });
  expect(lock.waiters.map(({ cpu, ticket }) => [cpu, ticket])).toEqual([
    [1, 3],
    [0, 4],
  ]);
  expect(lock.waiters[0].interruptsOff).toBe(true);
  expect(lock.waiters[0].callers).toContainEqual(expect.stringMatching(/^redo_fd_request\+0x[0-9a-f]+ \[floppy\]$/));
  expect(lock.meaning).toMatch(/but 2 CPUs wait and a holder has one: the others were not released as tickets/);
  expect(lock.evidence).toMatch(/^_raw_spin_lock_irqsave is called with its address at \w+\+0x[0-9a-f]+ \[floppy\]$/);
  // lock.mixed says why; a second finding about the same lock would say nothing more.
  expect(findings.map(({ id }) => id)).not.toContain("lock.impossible");
  expect(findings[0].id).toBe("lock.mixed");
  expect(implementationFacts(found).filter(({ role }) => role === "unlock")).toEqual([
    expect.objectContaining({ implementation: "ticket", function: "__ticket_spin_unlock" }),
    { role: "unlock", implementation: "Xen byte lock", function: "xen_spin_unlock", byObject: { floppy: 1 } },
  ]);
});

test.each([{ variant: "healthy" }, { variant: "both-xen" }, { variant: "pv-off" }, { variant: "2.6.38" }] as const)(
  "%j: nothing is held, nothing impossible",
  (options) => {
    const { survey } = opened(options);
    const found = survey();
    const { locks, findings } = surveyedLocks(found.state, found);
    expect([locks, findings]).toEqual([[], []]);
  },
);

test("the lock that is asked for", () => {
  const { kernel } = opened({});
  const state = new LockState(kernel);
  const address = floppyLock(kernel);
  const told = askedLock(state, address, undefined);
  expect([told.locks[0].state, told.locks[0].type]).toEqual(["impossible", "ticket spinlock"]);
  // Without the audit of the code the word alone tells that much.
  expect(told.findings.map(({ id, title }) => [id, title])).toEqual([
    ["lock.impossible", "floppy_lock [floppy] holds what no ticket spinlock ever holds"],
  ]);
  const [asXen] = askedLock(state, address, "xen-byte").locks;
  expect([asXen.state, asXen.problems]).toEqual([
    "unknown",
    [expect.stringMatching(/^it is no xen-byte but a ticket: _raw_spin_lock_irqsave is called with its address at /)],
  ]);
  const queued = askedLock(state, address, "qspinlock");
  expect([queued.locks[0].state, queued.locks[0].problems, queued.findings]).toEqual([
    "unknown",
    ["this kernel has no queued spinlocks; its own functions take ticket ones"],
    [],
  ]);
  expect(queued.locks[0].bytes).toMatch(/^00 05 00 00( |$)/);
});

test("a word of no proven type: its bytes, and what they fit", () => {
  const { kernel } = opened({ variant: "healthy" });
  const { address } = resolvePlace(kernel, "linux_banner");
  const [text] = askedLock(new LockState(kernel), address, undefined).locks;
  // "Linux version …"
  expect([text.type, text.state, text.bytes.slice(0, 14), text.fits]).toEqual([
    "unknown",
    "unknown",
    "4c 69 6e 75 78",
    [],
  ]);
  expect(text.meaning).toBe("the bytes are shown as they are; they fit no kind of lock that this kernel has");
  const [near] = askedLock(new LockState(kernel), virtualAddress(floppyLock(kernel) + 4n), undefined).locks;
  expect([near.state, near.problems]).toEqual(["unknown", ["nothing in this kernel proves that a lock is here"]]);
  expect(() => askedLock(new LockState(kernel), virtualAddress(0xffffc90000000000n), undefined)).toThrow(
    "0xffffc90000000000: is not mapped",
  );
});
