// `prove` on real dumps of Debian's kernels: the queued lock as it is patched there, its queue, and what --assume makes of it
// under each hypervisor. The paravirt lock with the native unlock is bug 838026's mistake in today's kernels.
import { beforeAll, describe, expect, it } from "vitest";
import type { ProveResult } from "../../packages/core/src/results/prove-results.ts";
import { diagnose, type LabDump, labDump, labHas, palimpsest } from "./support.ts";

const UNLOCK = "_raw_spin_unlock_irqrestore";
/** A guest takes a plain test-and-set lock (virt_spin_lock()); the queue is behind this key. */
const QUEUE = ["virt_spin_lock_key=off"];
const SLOW = "queued_spin_lock_slowpath=__pv_queued_spin_lock_slowpath";
const WAKES = "queued_spin_unlock=__raw_callee_save___pv_queued_spin_unlock";
const HYPERVISORS = [
  ["KVM", "kvm_wait", "kvm_kick_cpu"],
  ["Xen", "xen_qlock_wait", "xen_qlock_kick"],
  ["Hyper-V", "hv_qlock_wait", "hv_qlock_kick"],
] as const;

describe.each(["5.10", "6.1", "6.12", "7"])("Debian %s", async (flavour) => {
  const here = await labHas(flavour);
  let dump: LabDump;
  beforeAll(async () => {
    if (here) dump = await labDump(flavour);
  });

  const prove = async (
    [lock, unlock]: readonly [string, string],
    cpus: number,
    rounds: number,
    assume: readonly string[] = [],
  ): Promise<ProveResult> => {
    const { stdout } = await palimpsest([
      ...["prove", dump.path(), lock, unlock, "--image", dump.vmlinuz, "--modules", dump.modules, "--json"],
      ...["--cpus", `${cpus}`, "--rounds", `${rounds}`, ...assume.flatMap((each) => ["--assume", each])],
    ]);
    return JSON.parse(stdout) as ProveResult;
  };
  const bounds: readonly (readonly [number, number])[] = [
    [2, 2],
    [3, 1],
  ];

  it.skipIf(!here).each([
    ["_raw_spin_lock", UNLOCK],
    ["_raw_spin_lock_irq", UNLOCK],
    ["_raw_spin_lock_irqsave", UNLOCK],
    ["_raw_spin_lock_bh", "_raw_spin_unlock_bh"],
    ["_raw_spin_trylock", UNLOCK],
  ] as const)("%s with %s, as patched: safe", async (...pair) => {
    for (const [cpus, rounds] of bounds)
      expect(await prove(pair, cpus, rounds)).toMatchObject({ verdict: "safe", reason: null, bounds: { hit: null } });
  });

  it.skipIf(!here)("the queue: safe, with all its states", async () => {
    for (const [cpus, rounds] of bounds) {
      const result = await prove(["_raw_spin_lock", UNLOCK], cpus, rounds, QUEUE);
      expect(result).toMatchObject({ verdict: "safe", lock: { implementation: "queued" } });
      expect(result.states).toBeGreaterThan(1000);
    }
  });

  it.skipIf(!here).each(HYPERVISORS)(
    "the paravirt lock of %s: safe with its unlock, a lost wake-up with the native one",
    async (_, wait, kick) => {
      const slots = [SLOW, `wait=${wait}`, `kick=${kick}`];
      const matched = await prove(["_raw_spin_lock", UNLOCK], 2, 1, [...slots, WAKES]);
      expect([matched.verdict, matched.lock.implementation, matched.unlock.implementation]).toEqual([
        "safe",
        "pv-queued",
        "pv-queued",
      ]);
      const mixed = await prove(["_raw_spin_lock", UNLOCK], 2, 1, slots);
      expect(mixed.verdict).toBe("hang");
      expect(mixed.reason).toMatch(/^model CPU \d sleeps at .* in round 1, and nobody will wake it$/);
      expect(mixed.witness?.end.map(({ state }) => state).sort()).toEqual(["finished", "sleeps"]);
      // _Q_SLOW_VAL, which asks for a kick, is overwritten by the plain store.
      const last = mixed.witness?.steps.filter((step) => step.lockBefore !== step.lockAfter).at(-1);
      expect([last?.lockBefore?.slice(0, 2), last?.lockAfter?.slice(0, 2)]).toEqual(["03", "00"]);
    },
  );

  it.skipIf(!here)("a wait that nobody kicks: hang", async () => {
    // The kick's sites hold NOPs, as on bare metal.
    const slots = [SLOW, WAKES, "wait=kvm_wait"];
    const { verdict } = await prove(["_raw_spin_lock", UNLOCK], 2, 1, slots);
    expect(verdict).toBe("hang");
  });

  it.skipIf(!here)("diagnose proves the one pair of its sites safe", async () => {
    const { stdout } = await diagnose(dump, "--json");
    const { proofs } = JSON.parse(stdout) as { proofs: unknown[] };
    expect(proofs).toMatchObject([{ families: ["queued", "queued"], verdict: "safe", reason: null, cpus: 2 }]);
  });
});

const traced = await labHas("6.1");
describe.skipIf(!traced)("Debian 6.1 with the function tracer on", () => {
  it("proves the lock without the tracer, and says so", async () => {
    const dump = await labDump("6.1/function");
    const { stdout } = await palimpsest([
      ...["prove", dump.path(), "_raw_spin_lock", UNLOCK, "--rounds", "2", "--json"],
      ...["--image", dump.vmlinuz, "--modules", dump.modules],
    ]);
    const { verdict, assumptions } = JSON.parse(stdout) as ProveResult;
    expect([verdict, assumptions[0]]).toEqual([
      "safe",
      "the function tracer is on: its calls at functions' entries are passed over",
    ]);
  });
});
