// A witness is checked by running it again: in the system it came from, and out of a file that holds all it needs.
import { expect, test } from "vitest";
import { LOCK_ADDRESS } from "../machine/model-addresses.ts";
import { at, HYPERCALL_PAGE, type LockFunction, lockMemory, perCpu, SHARED_INFO } from "../testing/locks.ts";
import type { Entry, System, Witness } from "../types.ts";
import { prove } from "./prove.ts";
import { replay } from "./replay.ts";
import { lockSystem } from "./scenario.ts";
import { packWitness, replayWitnessFile } from "./witness-file.ts";

const call = (name: LockFunction): Entry => ({ address: at(name), registers: { rdi: LOCK_ADDRESS } });

function system(lock: LockFunction, unlock: LockFunction, cpus: number, timeout = 4): System {
  const ticket = lock.startsWith("ticket");
  return lockSystem({
    memory: lockMemory(timeout),
    pairs: [{ lock: call(lock), unlock: call(unlock) }],
    cpus,
    rounds: 2,
    lock: {
      address: LOCK_ADDRESS,
      length: ticket ? 2 : 4,
      initial: new Uint8Array(4),
      free: ticket ? "halves-equal" : "initial",
      describe: (bytes) => `byte ${bytes[0]}`,
    },
    gsBases: [0, 1, 2, 3].map(perCpu),
    environment: {
      sharedInfo: SHARED_INFO,
      hooks: [29, 32].map((number) => ({
        kind: "hypercall" as const,
        number,
        address: HYPERCALL_PAGE + BigInt(number) * 32n,
      })),
    },
  });
}

function witnessOf(s: System): Witness {
  const { witness } = prove(s);
  if (witness === undefined) throw new Error("no witness");
  return witness;
}

const BROKEN = [
  ["ticket_lock", "xen_unlock_nokick", 1],
  ["ticket_lock_plain", "ticket_unlock", 2],
  ["ticket_lock", "ticket_unlock_none", 2],
  ["xen_lock", "xen_unlock_nofence", 2],
  ["ticket_lock_irq", "ticket_unlock", 1],
] as const;

test.each(BROKEN)("the witness of %s and %s on %i CPUs replays, also from its file alone", (lock, unlock, cpus) => {
  const s = system(lock, unlock, cpus, 1024);
  const witness = witnessOf(s);
  expect(replay(s, witness).problem).toBeUndefined();
  const json: unknown = JSON.parse(JSON.stringify(packWitness(s, witness)));
  const again = replayWitnessFile(json);
  expect(again.problem).toBeUndefined();
  expect(again.steps.map((step) => step.instruction)).toEqual(witness.steps.map((step) => step.instruction));
});

test("in a repaired system the witness does not replay", () => {
  const witness = witnessOf(system("ticket_lock", "xen_unlock_nokick", 1));
  expect(replay(system("ticket_lock", "ticket_unlock", 1), witness)).toMatchObject({ ok: false });
  expect(replay(system("xen_lock", "xen_unlock", 1), witness)).toMatchObject({ ok: false });
});

test("a witness that was changed is told", () => {
  const s = system("ticket_lock", "xen_unlock_nokick", 1);
  const witness = witnessOf(s);
  const cut = { ...witness, schedule: witness.schedule.slice(0, 2), steps: witness.steps.slice(0, 9) };
  expect(replay(s, cut).ok).toBe(false);
  expect(replay(s, { ...witness, schedule: [...witness.schedule, "1"] }).problem).toMatch(/is not possible there/);
  const edited = witness.steps.map((step, i) => (i === 3 ? { ...step, lockAfter: "ff ff" } : step));
  expect(replay(s, { ...witness, steps: edited }).problem).toMatch(/^step 3 is not the one written/);
  const xen = system("xen_lock", "xen_unlock_nofence", 2);
  expect(replay(xen, { ...witnessOf(xen), shared: [] }).problem).toMatch(/is used by several CPUs/);
});

test("files that are no witness", () => {
  expect(() => replayWitnessFile(3)).toThrow("witness: the file is 3, not an object");
  expect(() => replayWitnessFile({ schema: "x" }, "a.json")).toThrow(
    'a.json: schema is "x", not "palimpsest/witness/1"',
  );
  const s = system("ticket_lock", "xen_unlock_nokick", 1);
  const file = packWitness(s, witnessOf(s));
  expect(() => replayWitnessFile({ ...file, memory: [{ address: "0x0" }] })).toThrow(
    "memory[0].hex is nothing, not hex digits",
  );
  expect(() => replayWitnessFile({ ...file, memory: [{ address: "0x0", hex: "zz" }] })).toThrow(
    'memory[0].hex is "zz", not hex digits, two a byte',
  );
  expect(() => replayWitnessFile({ ...file, witness: { steps: [] } })).toThrow(
    "witness.verdict is nothing, not one of hang",
  );
  expect(() => replayWitnessFile({ ...file, system: {} })).toThrow("system.programs is nothing, not a list");
  expect(replayWitnessFile({ ...file, memory: [] }).ok).toBe(false);
});

test("every field of a file is checked, and told by its place", () => {
  const s = system("ticket_lock", "xen_unlock_nokick", 1);
  const file = JSON.parse(JSON.stringify(packWitness(s, witnessOf(s)))) as Record<string, unknown>;
  const places: (readonly (string | number)[])[] = [];
  const visit = (value: unknown, path: readonly (string | number)[]): void => {
    places.push(path);
    if (Array.isArray(value))
      value.slice(0, 2).forEach((each, i) => {
        visit(each, [...path, i]);
      });
    else if (typeof value === "object" && value !== null)
      for (const [key, each] of Object.entries(value)) visit(each, [...path, key]);
  };
  visit(file, []);
  expect(places.length).toBeGreaterThan(60);
  for (const path of places.slice(1)) {
    // Descriptions may say anything.
    if (path.some((part) => part === "symbol" || part === "problem" || part === "instruction" || part === "lock"))
      continue;
    for (const bad of ["0x1ffffffffffffffff", -1, 1e12, 0.5, {}, [[]], "zz"]) {
      const copy = structuredClone(file);
      let at = copy as Record<string | number, unknown>;
      for (const part of path.slice(0, -1)) at = at[part] as Record<string | number, unknown>;
      at[path[path.length - 1]] = bad;
      const answer = (): boolean => replayWitnessFile(copy, "f", { seconds: 5 }).ok;
      // Refused with the place, or run and found different; a description of a hook that is never reached may stay.
      let thrown: unknown;
      try {
        answer();
      } catch (error) {
        thrown = error;
      }
      if (thrown !== undefined) expect(thrown).toMatchObject({ name: "FormatError" });
    }
  }
});

test("an end that is not the one that comes out is told", () => {
  const s = system("ticket_lock_plain", "ticket_unlock", 2);
  const witness = witnessOf(s);
  expect(replay(s, { ...witness, end: [] }).problem).toBe("the end of 0 CPUs is written, 2 run");
  const [first, ...rest] = witness.end;
  expect(replay(s, { ...witness, end: [{ ...first, address: "0x10" }, ...rest] }).problem).toMatch(/^CPU 0 ends /);
});

test("a replay ends when its time is up", () => {
  const s = system("ticket_lock", "xen_unlock_nokick", 1);
  expect(replay(s, witnessOf(s), { seconds: 0 }).problem).toMatch(/bound seconds/);
});
