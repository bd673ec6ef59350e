// Kinds of lines that kernels print when something is wrong, from 3.0 to today, and lines that only look like them.
import { expect, test } from "vitest";
import { type LogEventKind, logEvents, wasAskedFor } from "./log-events.ts";
import type { LogRecord } from "./log-types.ts";

const record = (text: string, facility = 0): LogRecord => ({
  sequence: undefined,
  nanoseconds: 5_000_000_000n,
  level: 3,
  facility,
  caller: undefined,
  text,
  continues: false,
});

const WHO = "CPU: 3 PID: 77 Comm: kworker/u8:1 Not tainted 6.1.0 #1";

test.each<[LogEventKind, string, string]>([
  ["panic", "Kernel panic - not syncing: Fatal exception in interrupt", "3 77"],
  ["soft-lockup", "watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [my task:x:412]", "2 412 my task:x 23"],
  ["soft-lockup", "BUG: soft lockup - CPU#0 stuck for 61s! [insmod:99]", "0 99 insmod 61"],
  ["hard-lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", "1"],
  ["hard-lockup", "watchdog: CPU5: Watchdog detected hard LOCKUP on cpu 5", "5"],
  ["hung-task", "INFO: task dd:1234 blocked for more than 120 seconds.", "- 1234 dd 120"],
  ["hung-task", "INFO: task jbd2/vda1-8:201 blocked in I/O wait for more than 241 seconds.", "- 201 jbd2/vda1-8 241"],
  ["rcu-stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "3 77"],
  ["rcu-stall", "INFO: rcu_sched_state detected stalls on CPUs/tasks: { 1}", "3 77"],
  ["rcu-stall", "rcu: INFO: rcu_preempt self-detected stall on CPU", "3 77"],
  ["rcu-stall", "rcu: INFO: rcu_tasks detected stalls on tasks:", "3 77"],
  ["workqueue-lockup", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 44s!", "3 77"],
  ["lockdep", "WARNING: possible circular locking dependency detected", "3 77"],
  ["lockdep", "INFO: possible recursive locking detected", "3 77"],
  ["sanitizer", "BUG: KASAN: use-after-free in foo+0x12/0x90", "3 77"],
  ["sanitizer", "UBSAN: array-index-out-of-bounds in fs/x.c:12:3", "3 77"],
  ["oops", "BUG: kernel NULL pointer dereference, address: 0000000000000018", "3 77"],
  ["oops", "BUG: unable to handle kernel paging request at ffff88003a1ff000", "3 77"],
  ["oops", "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]", "3 77"],
  ["oops", "general protection fault: 0000 [#1] SMP", "3 77"],
  ["bug", "kernel BUG at mm/slub.c:305!", "3 77"],
  ["bug", "BUG: scheduling while atomic: swapper/0/0/0x00000002", "3 77"],
  ["warning", "WARNING: CPU: 1 PID: 9 at kernel/sched/core.c:12 foo+0x1/0x2", "1"],
])("%s: %s", (kind, text, told) => {
  const [event, ...more] = logEvents([record(text), record("Modules linked in: a b"), record(WHO)]);
  expect([event?.kind, more]).toEqual([kind, []]);
  const { cpu, task, seconds } = event;
  const words = [cpu ?? "-", task?.pid, task?.comm, seconds].filter((each) => each !== undefined).join(" ");
  expect(words.startsWith(told)).toBe(true);
  expect(event.text).toBe(text);
});

test.each([
  "systemd[1]: Kernel panic - not syncing is what we look for",
  "audit: INFO: task dd:1 blocked for more than",
  "watchdog: hard LOCKUP detection enabled",
  "softdog: initialized",
  "rcu: RCU restricting CPUs",
])("no event: %s", (text) => expect(logEvents([record(text)])).toEqual([]));

test("what user programs wrote into the log is none", () => {
  expect(logEvents([record("Kernel panic - not syncing: no", 1)])).toEqual([]);
});

test.each([
  ["Kernel panic - not syncing: sysrq triggered crash", true],
  ["Kernel panic - not syncing: NMI: Not continuing", true],
  ["Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b", false],
  ["Kernel panic - not syncing: softlockup: hung tasks", false],
])("%s: asked for %j", (text, asked) => expect(wasAskedFor(text)).toBe(asked));
