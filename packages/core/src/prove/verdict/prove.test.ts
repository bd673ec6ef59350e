// The verdicts on lock code of the bug's era: matched pairs are safe on one to three CPUs, the ticket lock released by
// Xen's unlock hangs one CPU within three rounds, and each mutant is found.
import { expect, test } from "vitest";
import { LOCK_ADDRESS } from "../machine/model-addresses.ts";
import { at, HYPERCALL_PAGE, type LockFunction, lockMemory, perCpu, SHARED_INFO } from "../testing/locks.ts";
import type { Bounds, Entry, Proof } from "../types.ts";
import { prove } from "./prove.ts";
import { proveLock } from "./prove-lock.ts";
import { lockSystem, type Scenario } from "./scenario.ts";

const call = (name: LockFunction): Entry => ({ address: at(name), registers: { rdi: LOCK_ADDRESS } });

const XEN = {
  sharedInfo: SHARED_INFO,
  hooks: [29, 32].map((number) => ({
    kind: "hypercall" as const,
    number,
    address: HYPERCALL_PAGE + BigInt(number) * 32n,
  })),
};

function run(
  lock: LockFunction,
  unlock: LockFunction,
  cpus: number,
  rounds: number,
  more: Partial<Scenario> = {},
  bounds: Bounds = {},
): Proof {
  const ticket = lock.startsWith("ticket");
  return prove(
    lockSystem({
      memory: lockMemory(),
      pairs: [{ lock: call(lock), unlock: call(unlock) }],
      cpus,
      rounds,
      lock: {
        address: LOCK_ADDRESS,
        length: ticket ? 2 : 4,
        initial: new Uint8Array(4),
        free: ticket ? "halves-equal" : "initial",
      },
      gsBases: [0, 1, 2, 3].map(perCpu),
      environment: XEN,
      ...more,
    }),
    { bounds },
  );
}

test.each([
  ["ticket_lock", "ticket_unlock", 1, 3],
  ["ticket_lock", "ticket_unlock", 2, 2],
  ["ticket_lock", "ticket_unlock", 3, 2],
  ["xen_lock", "xen_unlock", 1, 3],
  ["xen_lock", "xen_unlock", 2, 2],
  ["xen_lock", "xen_unlock", 3, 1],
  ["queued_trylock_spin", "queued_unlock", 3, 2],
] as const)("%s and %s on %i CPUs, %i rounds: safe, all states seen", (lock, unlock, cpus, rounds) => {
  const proof = run(lock, unlock, cpus, rounds);
  expect(proof).toMatchObject({ verdict: "safe", bound: undefined, witness: undefined, cpus });
  expect(run(lock, unlock, cpus, rounds, { model: "sc" }).verdict).toBe("safe");
});

test("the bug: ticket lock released by Xen's unlock hangs one CPU in its second round", () => {
  const { verdict, witness } = run("ticket_lock", "xen_unlock", 1, 3);
  expect(verdict).toBe("hang");
  expect(witness?.contextSwitches).toBe(0);
  const locked = witness?.steps.filter((s) => s.lockBefore !== s.lockAfter).map((s) => [s.instruction, s.lockAfter]);
  expect(locked).toEqual([
    ["lock xadd %ax,(%rdi)", "00 01"],
    ["lock xadd %ax,(%rdi)", "00 02"],
  ]);
  expect(witness?.end).toMatchObject([
    {
      cpu: 0,
      state: "spins",
      address: "0xffffffff81000014",
      cycle: [
        { instruction: "mov (%rdi),%al" },
        { instruction: "jmp 0xffffffff8100000e" },
        { instruction: "cmp %al,%ah" },
        { instruction: "je 0xffffffff81000018" },
        { instruction: "pause" },
      ],
    },
  ]);
});

test("Xen's lock released by the ticket unlock hangs or lets two in", () => {
  expect(["hang", "two-holders", "bad-end"]).toContain(run("xen_lock", "ticket_unlock", 2, 2).verdict);
});

test.each([
  ["no store in unlock", "ticket_lock", "ticket_unlock_none", "hang"],
  ["no LOCK prefix", "ticket_lock_plain", "ticket_unlock", "two-holders"],
  ["head incremented by two", "ticket_lock", "ticket_unlock_two", "hang"],
  ["store before the critical section's end", "ticket_lock_early", "ticket_unlock_none", "two-holders"],
  ["no kick", "xen_lock", "xen_unlock_nokick", "hang"],
] as const)("mutant %s is found", (_, lock, unlock, verdict) => {
  expect(run(lock, unlock, 2, 2).verdict).toBe(verdict);
});

test("Xen's unlock without its barrier loses a wake-up, but only with store buffers", () => {
  const proof = run("xen_lock", "xen_unlock_nofence", 2, 1);
  expect(proof.verdict).toBe("hang");
  expect(proof.witness?.end.map((cpu) => cpu.state).sort()).toEqual(["finished", "sleeps"]);
  expect(proof.witness?.steps.some((step) => step.kind === "drain")).toBe(true);
  expect(run("xen_lock", "xen_unlock_nofence", 2, 2, { model: "sc" }).verdict).toBe("safe");
});

test("one round without the store leaves the word taken", () => {
  expect(run("ticket_lock", "ticket_unlock_none", 1, 1)).toMatchObject({
    verdict: "bad-end",
    reason: "all CPUs have finished, and the lock word 00 01 is not free",
  });
});

test("interrupts: saved and restored is safe, left off is not", () => {
  const irqsave: Entry = { address: at("ticket_lock_irqsave"), registers: { rdi: LOCK_ADDRESS } };
  const restore: Entry = { address: at("ticket_unlock_irqrestore"), registers: { rdi: LOCK_ADDRESS, rsi: "result" } };
  const pair = (lock: Entry, unlock: Entry) =>
    run("ticket_lock", "ticket_unlock", 2, 2, { pairs: [{ lock, unlock }] }).verdict;
  expect(pair(irqsave, restore)).toBe("safe");
  expect(run("ticket_lock_irq", "ticket_unlock", 2, 2)).toMatchObject({
    verdict: "bad-end",
    reason: "interrupts are left off",
  });
});

test("an inlined unlock: the run ends where the site ends", () => {
  // incb (%rdi) of ticket_unlock alone, stopped before the instruction behind it
  const inlined: Entry = {
    address: at("ticket_unlock") + 4n,
    stopAt: [at("ticket_unlock") + 6n],
    registers: { rdi: LOCK_ADDRESS },
  };
  const proof = run("ticket_lock", "ticket_unlock", 2, 2, { pairs: [{ lock: call("ticket_lock"), unlock: inlined }] });
  expect(proof.verdict).toBe("safe");
});

test("CPUs with different pairs: core code with tickets, a module with Xen's unlock", () => {
  const pairs = [
    { lock: call("ticket_lock"), unlock: call("ticket_unlock") },
    { lock: call("ticket_lock"), unlock: call("xen_unlock") },
  ];
  expect(run("ticket_lock", "ticket_unlock", 2, 1, { pairs }).verdict).not.toBe("safe");
});

test("bounds: never safe when one was hit, and it is named", () => {
  const bounded = (bounds: Bounds) => {
    const { verdict, bound } = run("ticket_lock", "ticket_unlock", 3, 2, {}, bounds);
    return { verdict, bound };
  };
  expect(bounded({ states: 500 })).toEqual({ verdict: "not-proven", bound: { name: "states", value: 500 } });
  expect(bounded({ seconds: 0 })).toEqual({ verdict: "not-proven", bound: { name: "seconds", value: 0 } });
  expect(bounded({ memoryBytes: 1000 })).toEqual({
    verdict: "not-proven",
    bound: { name: "memoryBytes", value: 1000 },
  });
});

test("a store buffer that fills up is no bound, but the proof says so", () => {
  const proof = run("ticket_lock", "ticket_unlock", 2, 2, {}, { storeBuffer: 1 });
  expect(proof).toMatchObject({
    verdict: "safe",
    assumptions: ["store buffers hold 1 entries; some orders fill one"],
  });
});

test("bad input is named with its place", () => {
  const entry = (address: bigint): Entry => ({ address, registers: { rdi: LOCK_ADDRESS } });
  const lock = (address: bigint) =>
    run("ticket_lock", "ticket_unlock", 2, 1, { pairs: [{ lock: entry(address), unlock: call("ticket_unlock") }] });
  expect(lock(0xffffffff90000000n)).toMatchObject({
    verdict: "unsupported",
    reason: "0xffffffff90000000: no such page in the test (page)",
  });
  expect(lock(at("ticket_lock") + 0xf00n)).toMatchObject({ verdict: "trap", reason: "0xffffffff81000f00: int3" });
  expect(lock(at("per_cpu_offset"))).toMatchObject({ verdict: "unsupported" });
});

test("proveLock: the fewest CPUs that show it; code that never returns even alone", () => {
  const scenario = (lock: LockFunction, unlock: LockFunction): Scenario => ({
    memory: lockMemory(),
    pairs: [{ lock: call(lock), unlock: call(unlock) }],
    cpus: 3,
    rounds: 2,
    lock: { address: LOCK_ADDRESS, length: 2, initial: new Uint8Array(2), free: "halves-equal" },
  });
  const safe = proveLock(scenario("ticket_lock", "ticket_unlock"));
  expect(safe.runs.map(({ cpus, verdict }) => [cpus, verdict])).toEqual([
    [1, "safe"],
    [2, "safe"],
    [3, "safe"],
  ]);
  expect(safe.states).toBe(safe.runs.reduce((sum, r) => sum + r.states, 0));
  const bug = proveLock(scenario("ticket_lock", "xen_unlock_nokick"));
  expect(bug.runs).toHaveLength(1);
  expect(bug.neverReturns).toBeUndefined();
  expect(bug.proof.reason).toBe("model CPU 0 spins for ever at 0xffffffff81000014 in round 2");
  // Called on a lock that is taken from the start, the lock function waits for ever.
  const taken = { address: LOCK_ADDRESS, length: 2, initial: Uint8Array.of(0, 1), free: "initial" as const };
  const alone = proveLock({ ...scenario("ticket_lock", "ticket_unlock"), lock: taken });
  expect(alone).toMatchObject({ neverReturns: "lock", proof: { verdict: "hang", cpus: 1 } });
  expect(proveLock(scenario("ticket_lock", "ticket_unlock"), { bounds: { states: 30 } }).proof.verdict).toBe(
    "not-proven",
  );
});

test("proveLock: the bound on states is for all runs together", () => {
  const scenario: Scenario = {
    memory: lockMemory(),
    pairs: [{ lock: call("ticket_lock"), unlock: call("ticket_unlock") }],
    cpus: 2,
    rounds: 2,
    lock: { address: LOCK_ADDRESS, length: 2, initial: new Uint8Array(2), free: "halves-equal" },
  };
  const { runs, states } = proveLock(scenario);
  // Enough for the larger of the two runs, not for both.
  const larger = Math.max(...runs.map((each) => each.states));
  const short = proveLock(scenario, { bounds: { states: larger + 1 } });
  expect(short.proof).toMatchObject({ verdict: "not-proven", bound: { name: "states" } });
  expect(short.states).toBeLessThanOrEqual(states);
});

test("a run ends in its time although one state takes a million instructions", () => {
  // mov $-1,%rcx; dec %rcx; jne: a loop that counts for ages and touches nothing
  const code = Uint8Array.from([0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xc3]);
  const start = 0xffffffff81000000n;
  const memory = {
    read: (address: bigint, length: number): Uint8Array => {
      const out = new Uint8Array(length).fill(0xcc);
      for (let i = 0; i < length; i++) {
        const at = Number(address - start) + i;
        if (at >= 0 && at < code.length) out[i] = code[at];
      }
      return out;
    },
  };
  const entry: Entry = { address: start, registers: {} };
  const begun = performance.now();
  const proof = prove(
    lockSystem({
      memory,
      pairs: [{ lock: entry, unlock: entry }],
      cpus: 2,
      rounds: 2,
      lock: { address: LOCK_ADDRESS, length: 2, initial: new Uint8Array(2) },
    }),
    { bounds: { seconds: 0.2, localInstructions: 1_000_000_000 } },
  );
  expect(proof).toMatchObject({ verdict: "not-proven", bound: { name: "seconds" } });
  expect(performance.now() - begun).toBeLessThan(60_000);
});
