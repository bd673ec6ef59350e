// Real machines that hang or have died in one known way: the right finding comes first, with the CPUs, tasks and lock addresses
// that the module itself printed before it hung them, and nothing else is wrong. A spinlock, a mutex and a panic; the lab's
// other hang-* states are made and looked at by hand (docs/gallery.md).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { DiagnoseResult } from "../../packages/core/src/results/results.ts";
import { diagnose, type LabDump, labDump } from "./support.ts";

/** Facts by word and name, as the module logged them: "lock hg_spin_a ffffffffc04174cc". */
function factsOf(dump: LabDump): (word: "lock" | "task" | "cpu", name: string) => string {
  const log = readFileSync(join(dump.folder, "serial.log"), "utf8");
  const facts = new Map(
    Array.from(log.matchAll(/(?:@lab:fact|hang_gallery:) (lock|task|cpu) (\S+) (\w+)/g), ([, word, name, value]) => [
      `${word} ${name}`,
      word === "lock" ? `0x${value}` : value,
    ]),
  );
  return (word, name) => {
    const value = facts.get(`${word} ${name}`);
    if (value === undefined) throw new Error(`the module logged no "${word} ${name}" in ${dump.folder}/serial.log`);
    return value;
  };
}

const STATES = ["hang-spin-abba", "hang-mutex-abba", "hang-panic"] as const;

describe.each(STATES)("Debian 6.1, %s", (state) => {
  let fact: ReturnType<typeof factsOf>;
  let result: DiagnoseResult;
  let exitCode: number;
  beforeAll(async () => {
    const dump = await labDump("6.1", { states: [state] });
    fact = factsOf(dump);
    const ran = await diagnose(dump, "--json", "--prove", "none");
    exitCode = ran.exitCode;
    result = JSON.parse(ran.stdout) as DiagnoseResult;
  });

  it("has one cause, and nothing is wrong beside it", () => {
    const told = result.findings.filter(({ severity }) => severity !== "note");
    expect(told.map(({ id }) => id)).toEqual([state === "hang-panic" ? "crash.panic" : "hang.deadlock"]);
    expect(result.findings[0]).toBe(told[0]);
    expect(result.account.verdicts).toMatchObject({ stale: 0, foreign: 0 });
    expect(exitCode).toBe(1);
  });

  it("names the tasks, CPUs and locks that the module printed", () => {
    const [finding] = result.findings;
    if (finding.id !== "hang.deadlock") {
      expect(finding.title).toContain(`in hg_dies (PID ${fact("task", "hg_dies")}) on CPU ${fact("cpu", "hg_dies")}`);
      return;
    }
    const spins = state === "hang-spin-abba";
    const who = (name: string): string => {
      const task = `${name} (PID ${fact("task", name)})`;
      return spins ? `CPU ${fact("cpu", name)} [${task}]` : task;
    };
    const lock = spins ? "hg_spin" : "hg_mutex";
    const waits = finding.cycle.map((step) => [step.task, step.lock]).sort();
    expect(waits).toEqual(
      [
        [who("hg_ab"), fact("lock", `${lock}_b`)],
        [who("hg_ba"), fact("lock", `${lock}_a`)],
      ].sort(),
    );
  });

  it("begins with what the machine was", () => {
    const { triage } = result;
    expect(triage.taint?.map(({ letter }) => letter)).toEqual(expect.arrayContaining(["O", "E"]));
    expect(Number(triage.uptime)).toBeGreaterThan(1);
    expect(Date.parse(triage.date ?? "")).toBeGreaterThan(Date.parse("2020-01-01"));
    const spinning = triage.spinning.map(({ cpu }) => String(cpu)).sort();
    expect(spinning).toEqual(state === "hang-spin-abba" ? [fact("cpu", "hg_ab"), fact("cpu", "hg_ba")].sort() : []);
    // The module's director may be in msleep(), which is uninterruptible too.
    const stuck = triage.uninterruptible.filter(({ comm }) => comm !== "hg_director").map(({ pid }) => String(pid));
    expect(stuck.sort()).toEqual(
      state === "hang-mutex-abba" ? [fact("task", "hg_ab"), fact("task", "hg_ba")].sort() : [],
    );
    expect(triage.events.map(({ kind }) => kind)).toEqual(state === "hang-panic" ? ["panic"] : []);
  });
});
