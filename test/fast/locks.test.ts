// `locks` on the bug's specimen: what a user types, what comes out, and with which exit status.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { LocksResult } from "../../packages/core/src/results/lock-results.ts";
import { makeBugSpecimen } from "../../packages/specimen/index.ts";
import { palimpsest, temporaryFolder } from "./support.ts";

vi.setConfig({ testTimeout: 30_000, hookTimeout: 30_000 });
const folder = temporaryFolder();
const vmcore = join(folder.path, "vmcore");

beforeAll(() => {
  const specimen = makeBugSpecimen();
  mkdirSync(join(folder.path, "modules"));
  writeFileSync(vmcore, specimen.dump);
  writeFileSync(join(folder.path, "vmlinuz"), specimen.vmlinuz);
  for (const [name, bytes] of specimen.modules) writeFileSync(join(folder.path, "modules", name), bytes);
});
afterAll(() => folder.remove());

const locks = (...args: readonly string[]) => palimpsest("locks", vmcore, ...args, "--no-cache");

test("all locks: the impossible one, who waits for it, what runs at the sites, and why", async () => {
  const { stdout, status } = await locks();
  expect(status).toBe(1);
  for (const line of [
    /^impossible {2}floppy_lock \[floppy\] {2}[0-9a-f]{16} {2}ticket spinlock$/m,
    /^ {4}bytes {5}00 05 00 00$/m,
    /^ {4}fields {4}head 0, tail 5$/m,
    /^ {4}waiting {3}CPU 1, kworker\/1:1 \(PID 19\), ticket 3 in __ticket_spin_lock\+0x[0-9a-f]+, interrupts off$/m,
    /^ {2}unlock {3}Xen byte lock {2}xen_spin_unlock +1 in floppy$/m,
    /^ {2}pv_lock_ops\.spin_unlock +xen_spin_unlock +Xen byte lock$/m,
    /^error {2}lock\.mixed /m,
  ]) {
    expect(stdout).toMatch(line);
  }
});

test("one lock, with the cause of what is wrong with it", async () => {
  const { stdout, status } = await locks("floppy:floppy_lock", "--json");
  const result = JSON.parse(stdout) as LocksResult;
  expect([status, result.asked, result.locks.length, result.looked]).toEqual([1, "floppy:floppy_lock", 1, 1]);
  expect(result.findings[0].id).toBe("lock.mixed");
  expect(result.implementations.length).toBeGreaterThan(0);
});

test.each([
  // No type is proved, but the bytes fit some.
  [["fdc_busy"], 0, /^unknown {2}fdc_busy \[floppy\][\s\S]*fits {6}--type ticket: ticket spinlock, free/m],
  [["linux_banner"], 2, /they fit no kind of lock that this kernel has/],
  [
    ["floppy_lock", "--type", "qspinlock"],
    2,
    /this kernel has no queued spinlocks; its own functions take ticket ones/,
  ],
  [
    ["floppy_lock", "--type", "mutex"],
    2,
    /it is no mutex but a ticket: _raw_spin_lock_irqsave is called with its address/,
  ],
] as const)("locks DUMP %j ends with %d", async (args, status, text) => {
  const outcome = await locks(...args);
  expect([outcome.status, outcome.stderr]).toEqual([status, ""]);
  expect(outcome.stdout).toMatch(text);
});

test.each([
  [["0xffffc90000000000"], /0xffffc90000000000: is not mapped/],
  [["no_such_lock"], /the symbol no_such_lock is missing/],
  [["--type", "mutex"], /--type says what the lock at WHERE is, and no WHERE was given/],
  [["floppy_lock", "--cpu", "0"], /floppy_lock is no per-CPU variable/],
  [["floppy_lock", "--type", "futex"], /argument 'futex' is invalid/],
] as const)("locks DUMP %j could not do it", async (args, message) => {
  const { stderr, stdout, status } = await locks(...args);
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(message);
});
