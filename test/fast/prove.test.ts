// `prove` on the specimen of bug 838026: the verdict on its pair, the repairs that --assume tries, mutants of its code, the
// witness that --replay runs again.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { ProveResult } from "../../packages/core/src/results/prove-results.ts";
import type { DiagnoseResult } from "../../packages/core/src/results/results.ts";
import { makeBugSpecimen } from "../../packages/specimen/index.ts";
import { palimpsest, temporaryFolder } from "./support.ts";

vi.setConfig({ testTimeout: 30_000 });
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder.path, ...names);
const LOCK = "_raw_spin_lock_irq";
const UNLOCK = "floppy:redo_fd_request+0x186";
const specimen = makeBugSpecimen({ format: "elf" });

beforeAll(() => {
  mkdirSync(at("modules"));
  writeFileSync(at("vmcore"), specimen.dump);
  writeFileSync(at("vmlinuz"), specimen.vmlinuz);
  for (const [name, bytes] of specimen.modules) writeFileSync(at("modules", name), bytes);
});
afterAll(() => folder.remove());

async function prove(
  pair: readonly [string, string],
  ...more: string[]
): Promise<ProveResult & { readonly status: number }> {
  const { stdout, stderr, status } = await palimpsest("prove", at("vmcore"), ...pair, "--json", ...more);
  if (stdout === "") throw new Error(stderr);
  return { ...(JSON.parse(stdout) as ProveResult), status };
}

test("the bug: a hang on one CPU, in the second round", async () => {
  const result = await prove([LOCK, UNLOCK], "--cpus", "1");
  expect(result).toMatchObject({ status: 1, verdict: "hang", bounds: { cpus: 1, hit: null } });
  expect(result.reason).toMatch(/^model CPU 0 spins for ever at __ticket_spin_lock\+0x\w+ in round 2$/);
  expect([result.lock.implementation, result.unlock.implementation]).toEqual(["ticket", "byte"]);
  expect(result.witness?.steps.filter((step) => step.lockBefore !== step.lockAfter).map((step) => step.lock)).toEqual([
    "head 0, tail 1",
    "head 0, tail 2",
  ]);
});

describe("repairs", () => {
  test.each([
    ["the site calls the ticket function", "pv_lock_ops+0x28=__ticket_spin_unlock", "ticket", 3, 2],
    ["the core's sites call Xen's", "pv_lock_ops+0x10=xen_spin_lock", "byte", 2, 2],
    ["the core's sites call Xen's", "pv_lock_ops.spin_lock=xen_spin_lock", "byte", 3, 1],
  ] as const)("%s (%s): safe", async (_, assume, implementation, cpus, rounds) => {
    const bounds = ["--cpus", `${cpus}`, "--rounds", `${rounds}`];
    const result = await prove([LOCK, UNLOCK], "--assume", assume, ...bounds);
    expect(result).toMatchObject({ status: 0, verdict: "safe", bounds: { cpus, hit: null }, assume: [assume] });
    expect([result.lock.implementation, result.unlock.implementation]).toEqual([implementation, implementation]);
    expect(result.assumptions[0]).toMatch(/^\d+ sites? patched again for pv_lock_ops/);
  });

  test("what is no slot or no function is refused", async () => {
    const said = async (text: string) =>
      (await palimpsest("prove", at("vmcore"), LOCK, UNLOCK, "--assume", text)).stderr;
    expect(await said("pv_lock_ops")).toContain("write SLOT=FUNCTION");
    expect(await said("pv_lock_ops.spin_nothing=xen_spin_lock")).toContain("has no member spin_nothing");
    expect(await said("pv_lock_ops+0x28=nothing")).toContain("the symbol nothing is missing");
  });
});

const TICKET = "pv_lock_ops+0x28=__ticket_spin_unlock";
const XEN = "pv_lock_ops+0x10=xen_spin_lock";

describe("mutants of the specimen, each of one function, in pairs that are safe without them", () => {
  test.each([
    ["unlock without its store", "fe 07 5d c3", "66 90 5d c3", TICKET, "hang"],
    ["lock without the LOCK prefix", "b8 00 01 00 00 f0", "b8 00 01 00 00 3e", TICKET, "two-holders"],
    ["head incremented by two", "fe 07 5d c3 cc", "80 07 02 5d c3", TICKET, "hang"],
    [
      "released before the critical section's end",
      "66 66 66 66 90 b8 00 01 00 00 f0 66 0f c1 07 38 e0 74 06 f3 90 8a 07 eb f6 5d c3 | fe 07 5d c3 cc",
      "b8 00 01 00 00 f0 66 0f c1 07 38 e0 74 06 f3 90 8a 07 eb f6 fe 07 5d c3 cc cc cc | 66 90 5d c3 cc",
      TICKET,
      "two-holders",
    ],
    ["no kick", "89 df e8 d2 fc ff ff 5b 41 5c", "89 df 0f 1f 44 00 00 5b 41 5c", XEN, "hang"],
    ["no barrier before the look at spinners", "c6 07 00 0f ae f0", "c6 07 00 0f 1f 00", XEN, "hang"],
    ["nothing", "c6 07 00 0f ae f0", "c6 07 00 0f ae f0", XEN, "safe"],
  ] as const)("%s", async (_, before, after, assume, verdict) => {
    const dump = Buffer.from(specimen.dump);
    const parts = (hex: string) => hex.split("|").map((part) => Buffer.from(part.replaceAll(" ", ""), "hex"));
    const places = parts(before).map((part) => {
      expect(dump.indexOf(part)).toBe(dump.lastIndexOf(part));
      return dump.indexOf(part);
    });
    parts(after).forEach((part, i) => {
      expect([part.length, places[i] >= 0]).toEqual([parts(before)[i].length, true]);
      part.copy(dump, places[i]);
    });
    writeFileSync(at("mutant"), dump);
    const bounds = ["--cpus", "2", "--rounds", "2", "--image", at("vmlinuz"), "--modules", at("modules")];
    const { stdout, stderr } = await palimpsest(
      ...["prove", at("mutant"), LOCK, UNLOCK, "--json", "--assume", assume, ...bounds],
    );
    expect(stderr).toBe("");
    expect((JSON.parse(stdout) as ProveResult).verdict).toBe(verdict);
  });
});

test("diagnose proves each pair that the sites form, or as many as it is asked to", async () => {
  const diagnose = async (...more: string[]) => {
    const { stdout, status } = await palimpsest("diagnose", at("vmcore"), "--json", ...more);
    return { ...(JSON.parse(stdout) as DiagnoseResult), status };
  };
  const { proofs, findings, status } = await diagnose();
  expect(status).toBe(1);
  expect(proofs).toMatchObject([
    { families: ["ticket", "ticket"], lock: "_raw_spin_lock", verdict: "safe", reason: null, cpus: 2, rounds: 2 },
    { families: ["ticket", "byte"], unlock: "redo_fd_request+0x186 [floppy]", verdict: "hang", cpus: 1, rounds: 3 },
  ]);
  expect(findings.filter((finding) => finding.id === "hang.lock-pair")).toMatchObject([
    { severity: "error", symbol: "redo_fd_request+0x186 [floppy]", unlock: "xen_spin_unlock", verdict: "hang" },
  ]);
  const text = (await palimpsest("diagnose", at("vmcore"), "--prove", "mixed")).stdout;
  expect(text).toMatch(/lock code of 1 pair run in every order of x86-TSO, 7 states:\n +_raw_spin_lock with .*hang/);
  expect((await palimpsest("diagnose", at("vmcore"), "--prove", "some")).status).toBe(2);
});

test("what cannot be run is named with its place, and so is code that never returns", async () => {
  const refused = async (lock: string, unlock: string) => {
    const { status, verdict, reason } = await prove([lock, unlock]);
    return [status, verdict, reason?.replaceAll(/0x[0-9a-f]{16}/g, "0x…")];
  };
  expect(await refused("nr_cpu_ids", UNLOCK)).toEqual([
    2,
    "unsupported",
    "the lock at 0x… (nr_cpu_ids) is no code: its page is not executable",
  ]);
  expect(await refused(LOCK, "_raw_spin_unlock_irqrestore+0x2")).toEqual([
    2,
    "unsupported",
    "the unlock at 0x… (_raw_spin_unlock_irqrestore+0x2) is in the middle of an instruction: 0x… _raw_spin_unlock_irqrestore+0x1: mov %rsp,%rbp",
  ]);
  expect(await refused("0x1234567890", UNLOCK)).toEqual([
    2,
    "unsupported",
    expect.stringMatching(/^the lock at .* cannot be read: .*is not mapped/),
  ]);
  const swapped = await prove(["_raw_spin_unlock_irqrestore", LOCK]);
  expect(swapped).toMatchObject({ status: 1, verdict: "hang", bounds: { cpus: 1 } });
  expect(swapped.reason).toContain("in round 1: _raw_spin_lock_irq, the unlock, never returns, although no other CPU");
  const bounded = await prove([LOCK, "_raw_spin_unlock_irqrestore"], "--cpus", "3", "--states", "50");
  expect(bounded).toMatchObject({
    status: 2,
    verdict: "not-proven",
    bounds: { hit: expect.stringMatching(/^states/) },
  });
});

test("the saved witness runs again, and a changed one does not", async () => {
  const { stdout } = await palimpsest("prove", at("vmcore"), LOCK, UNLOCK, "--json");
  writeFileSync(at("witness.json"), stdout);
  expect(await palimpsest("prove", "--replay", at("witness.json"))).toMatchObject({ status: 0 });
  writeFileSync(at("changed.json"), readFileSync(at("witness.json"), "utf8").replaceAll("00 02", "00 03"));
  const changed = await palimpsest("prove", "--replay", at("changed.json"));
  expect(changed.status).toBe(2);
  expect(changed.stdout).toContain("does not end the same way");
});
