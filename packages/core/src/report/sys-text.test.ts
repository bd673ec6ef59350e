// One screen: what is known, nothing where all is as it should be, and no line longer than a terminal.
import { expect, test } from "vitest";
import type { Triage } from "../results/triage.ts";
import { PLAIN } from "./paint.ts";
import { triageLines } from "./sys-text.ts";

const QUIET: Triage = {
  node: null,
  hardware: null,
  date: null,
  uptime: null,
  load: null,
  cpus: { online: [], possible: null },
  memory: null,
  taint: null,
  tasks: { count: 0, states: {} },
  events: [],
  spinning: [],
  uninterruptible: [],
  uninterruptibleLeftOut: 0,
};

test("what cannot be read has no line", () => {
  expect(triageLines(QUIET, PLAIN)).toEqual(["  tasks     0: "]);
});

test("a machine in trouble", () => {
  const lines = triageLines(
    {
      ...QUIET,
      node: "scriptorium",
      hardware: "Acme Press",
      memory: 3 * 2 ** 30,
      date: "2026-11-28T17:02:39Z",
      uptime: "93784.500",
      load: ["4.00", "2.50", "1.00"],
      cpus: { online: [0, 1], possible: 4 },
      taint: [
        { letter: "W", meaning: "a warning was given" },
        { letter: "O", meaning: "a module from outside of the tree was loaded" },
      ],
      tasks: { count: 12, states: { S: 9, D: 2, R: 1 } },
      events: [
        {
          kind: "soft-lockup",
          count: 3,
          text: "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [scribe:70]",
          time: "120.250",
          cpu: 1,
          task: { pid: 70, comm: "scribe" },
        },
      ],
      spinning: [
        {
          cpu: 1,
          task: { pid: 70, comm: "scribe" },
          kind: "spinlock",
          lock: { address: "0xffffffffa0025ef8", symbol: "ink_lock [quire]" },
          holder: null,
          holderUnknown: "CPU 0 [swapper/0 (PID 0)] runs and may have it",
        },
        { cpu: 0, task: null, kind: "rwlock (read)", lock: null, holder: null, holderUnknown: null },
      ],
      uninterruptible: [{ pid: 71, comm: "reader", since: "14.020", sleepsIn: "__mutex_lock+0x15" }],
      uninterruptibleLeftOut: 1,
    },
    PLAIN,
  );
  expect(lines).toEqual([
    "  node      scriptorium",
    "  machine   Acme Press, 3.0 GiB",
    "  date      2026-11-28T17:02:39Z, 1 day 02:03:04 after the boot",
    "  load      4.00, 2.50, 1.00",
    "  CPUs      2 online; 2 possible but offline",
    "  tasks     12: 9 asleep, 2 uninterruptible, 1 runnable",
    "  taint     W (a warning was given), O (a module from outside of the tree was",
    "            loaded)",
    "  log       soft-lockup (3 times, first): watchdog: BUG: soft lockup - CPU#1",
    "            stuck for 22s! [scribe:70]; at 120.250 s on CPU 1 in scribe (PID 70)",
    "  spins     CPU 1 [scribe (PID 70)] for the spinlock ink_lock [quire]; who has",
    "            it is not known: CPU 0 [swapper/0 (PID 0)] runs and may have it",
    "  spins     CPU 0 for a rwlock (read) that nothing tells",
    "  in D      reader (PID 71) for 14.020 s in __mutex_lock+0x15",
    "            and 1 more task: palimpsest tasks DUMP --state D",
  ]);
});
