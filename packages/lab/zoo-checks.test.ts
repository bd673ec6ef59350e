import { describe, expect, it } from "vitest";
import type { CpuFact } from "../core/src/results/cpus-results.ts";
import type { LockFact } from "../core/src/results/lock-results.ts";
import type { LogLine } from "../core/src/results/log-results.ts";
import { judgeCpus, judgeLocks, judgeLog } from "./zoo-checks.ts";

const line = (text: string): LogLine => ({
  ...{ sequence: null, time: null, level: null, facility: null, caller: null, continues: false },
  text,
});
const boot = [
  line("Linux version 6.1.192-zoo (lab@lab)"),
  ...Array.from({ length: 50 }, (_, i) => line(`message ${i}`)),
  line("Run /init as init process"),
];

describe("judgeLog", () => {
  it.each([
    ["a boot", boot, true, []],
    ["a ring that could not be read", boot, false, ["log: not complete"]],
    ["another release", boot.slice(1), true, ["log: no banner"]],
    ["a beginning", boot.slice(0, 9), true, ["log: 9 messages", "log: no start of init"]],
  ])("%s", (_, messages, complete, trouble) => {
    expect(judgeLog({ messages, complete }, "6.1.192-zoo")).toEqual(trouble);
  });
});

const frame = (symbol: string) => ({ address: "0x1", symbol, at: null, checked: true });
const idle = (cpu: number, over: Partial<CpuFact> = {}): CpuFact => ({
  ...{ cpu, online: true, source: "QEMU", mode: "kernel", interruptsOff: false, registers: {}, waits: [] },
  symbol: "default_idle+0xb",
  task: { address: "0x2", pid: 0, comm: `swapper/${cpu}` },
  levels: [
    {
      level: 0,
      rip: "0x1",
      interruptsOff: false,
      registers: {},
      frames: ["default_idle+0xb", "cpu_startup_entry+0x29"].map(frame),
    },
  ],
  ...over,
});
const waiting: Partial<CpuFact> = {
  waits: [
    {
      level: 0,
      kind: "spinlock",
      implementation: "queued",
      lock: null,
      evidence: "rdi",
      proved: false,
      ticket: null,
      asleep: false,
    },
  ],
};

describe("judgeCpus", () => {
  it.each([
    ["idle ones", [idle(0), idle(1)], []],
    ["one that is missing", [idle(0)], ["cpus: 1 instead of 2"]],
    ["one offline", [idle(0), idle(1, { online: false })], ["cpus: CPU 1 is said to be offline"]],
    ["one whose state is not told", [idle(0), idle(1, { online: null })], []],
    ["one without registers", [idle(0), idle(1, { source: null })], ["cpus: CPU 1 has no registers"]],
    ["one without a task", [idle(0), idle(1, { task: null })], ["cpus: CPU 1 has no task"]],
    [
      "one that waits for nobody knows what",
      [idle(0), idle(1, waiting)],
      ["cpus: CPU 1 waits for a lock that is not known"],
    ],
    [
      "a cut stack",
      [idle(0), idle(1, { levels: [] })],
      ["cpus: CPU 1 is idle with a stack that does not begin in cpu_startup_entry"],
    ],
  ])("%s", (_, cpus, trouble) => {
    expect(judgeCpus({ cpus }, 2)).toEqual(trouble);
  });
});

const lock = (state: LockFact["state"]): LockFact => ({
  ...{ type: "mutex", state, fields: {}, meaning: "", address: "0x3", symbol: "m", bytes: "" },
  ...{ waiters: [], evidence: "", problems: [] },
});

describe("judgeLocks", () => {
  it.each([
    ["held ones", [lock("held"), lock("unknown")], 9, []],
    ["a contended one", [lock("contended")], 9, ["locks: mutex m is contended"]],
    [
      "a spinlock that a CPU waits for",
      [{ ...lock("contended"), type: "queued spinlock", waiters: [{ cpu: 1 }] }],
      9,
      [],
    ],
    [
      "a spinlock that nobody waits for",
      [{ ...lock("contended"), type: "queued spinlock" }],
      9,
      ["locks: queued spinlock m is contended"],
    ],
    ["an impossible one", [lock("impossible")], 9, ["locks: mutex m is impossible"]],
    ["none", [], 0, ["locks: none was looked at"]],
  ])("%s", (_, locks, looked, trouble) => {
    expect(judgeLocks({ locks, looked, findings: [], notChecked: [] })).toEqual(trouble);
  });
  it("tells what was not checked", () => {
    const notChecked = [{ object: "vmlinux", reason: "no types" }];
    expect(judgeLocks({ locks: [], looked: 1, findings: [], notChecked })).toEqual([
      "locks: vmlinux not checked: no types",
    ]);
  });
});
