// The verdicts on the 3.0-era locks against a second opinion: Promela models of the same locks (promela/locks.pml,
// written from their meaning, not from their instructions) checked by SPIN. Needs the Debian packages spin and gcc.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { LOCK_ADDRESS } from "../../packages/core/src/prove/machine/model-addresses.ts";
import {
  at,
  HYPERCALL_PAGE,
  type LockFunction,
  lockMemory,
  perCpu,
  SHARED_INFO,
} from "../../packages/core/src/prove/testing/locks.ts";
import type { MemoryModel, Verdict } from "../../packages/core/src/prove/types.ts";
import { prove } from "../../packages/core/src/prove/verdict/prove.ts";
import { lockSystem } from "../../packages/core/src/prove/verdict/scenario.ts";

const MODEL = fileURLToPath(new URL("./promela/locks.pml", import.meta.url));
const has = (command: string): boolean => spawnSync(command, ["--version"]).error === undefined;
const folder = mkdtempSync(join(tmpdir(), "palimpsest-spin-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What SPIN says: an assertion that fails is two holders, an invalid end state a hang. */
function spin(defines: readonly string[], cpus: number, rounds: number): Verdict {
  const flags = [...defines, `CPUS=${cpus}`, `ROUNDS=${rounds}`].map((define) => `-D${define}`);
  const options = { cwd: folder, encoding: "utf8" as const };
  execFileSync("spin", [...flags, "-a", MODEL], options);
  execFileSync("gcc", ["-O2", "-DSAFETY", "-w", "-o", "pan", "pan.c"], options);
  const errors = (...args: string[]): boolean => {
    const out = execFileSync(join(folder, "pan"), ["-m1000000", "-n", ...args], options);
    expect(out).not.toMatch(/max search depth too small|out of memory/);
    const count = /errors: (\d+)/.exec(out)?.[1];
    if (count === undefined) throw new Error(`pan said: ${out}`);
    return count !== "0";
  };
  if (errors("-E")) return "two-holders";
  return errors("-A") ? "hang" : "safe";
}

/** What Palimpsest says of the machine code. */
function machine(lock: LockFunction, unlock: LockFunction, cpus: number, rounds: number, model: MemoryModel): Verdict {
  const entry = (name: LockFunction) => ({ address: at(name), registers: { rdi: LOCK_ADDRESS } });
  const ticket = lock.startsWith("ticket");
  const hooks = [29, 32].map((number) => ({
    kind: "hypercall" as const,
    number,
    address: HYPERCALL_PAGE + BigInt(number) * 32n,
  }));
  const system = lockSystem({
    memory: lockMemory(1024),
    pairs: [{ lock: entry(lock), unlock: entry(unlock) }],
    cpus,
    rounds,
    model,
    lock: {
      address: LOCK_ADDRESS,
      length: ticket ? 2 : 4,
      initial: new Uint8Array(4),
      free: ticket ? "halves-equal" : "initial",
    },
    gsBases: [0, 1, 2, 3].map(perCpu),
    environment: { sharedInfo: SHARED_INFO, hooks },
  });
  return prove(system).verdict;
}

const TICKET = ["LOCK_TICKET", "UNLOCK_TICKET"];
const XEN = ["LOCK_XEN", "UNLOCK_XEN"];

/** What it is, Promela defines, lock, unlock, CPUs, rounds, the verdict that both have to give. */
const CASES: readonly (readonly [string, readonly string[], LockFunction, LockFunction, number, number, Verdict])[] = [
  ["ticket", TICKET, "ticket_lock", "ticket_unlock", 1, 3, "safe"],
  ["ticket", TICKET, "ticket_lock", "ticket_unlock", 2, 2, "safe"],
  ["ticket", TICKET, "ticket_lock", "ticket_unlock", 3, 2, "safe"],
  ["Xen", XEN, "xen_lock", "xen_unlock", 1, 3, "safe"],
  ["Xen", XEN, "xen_lock", "xen_unlock", 2, 2, "safe"],
  ["Xen", XEN, "xen_lock", "xen_unlock", 3, 1, "safe"],
  ["the bug: ticket lock, Xen unlock", ["LOCK_TICKET", "UNLOCK_XEN"], "ticket_lock", "xen_unlock", 1, 3, "hang"],
  ["the bug: ticket lock, Xen unlock", ["LOCK_TICKET", "UNLOCK_XEN"], "ticket_lock", "xen_unlock", 2, 2, "hang"],
  ["no store", ["LOCK_TICKET", "UNLOCK_NONE"], "ticket_lock", "ticket_unlock_none", 2, 2, "hang"],
  ["head by two", ["LOCK_TICKET", "UNLOCK_TWO"], "ticket_lock", "ticket_unlock_two", 2, 2, "hang"],
  ["no LOCK prefix", [...TICKET, "NO_LOCK_PREFIX"], "ticket_lock_plain", "ticket_unlock", 2, 2, "two-holders"],
  ["no kick", [...XEN, "NO_KICK"], "xen_lock", "xen_unlock_nokick", 2, 2, "hang"],
  ["no barrier", [...XEN, "NO_FENCE"], "xen_lock", "xen_unlock_nofence", 2, 1, "hang"],
];

describe.skipIf(!has("spin") || !has("gcc"))("SPIN and the machine agree", () => {
  it.each(CASES)(
    "%s (%s), %s with %s on %i CPUs, %i rounds: %s",
    (_name, defines, lock, unlock, cpus, rounds, verdict) => {
      expect(spin(defines, cpus, rounds)).toBe(verdict);
      expect(machine(lock, unlock, cpus, rounds, "tso")).toBe(verdict);
    },
  );

  it("without store buffers the missing barrier does no harm", () => {
    expect(spin([...XEN, "NO_FENCE", "SC"], 2, 2)).toBe("safe");
    expect(machine("xen_lock", "xen_unlock_nofence", 2, 2, "sc")).toBe("safe");
  });
});
