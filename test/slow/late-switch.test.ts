// The mistake of bug 838026 in stock Debian kernels: lock slots that change after boot has patched every site that calls
// through them. A module that is loaded then has lock and unlock sites of another kind than the core, and a CPU that waits
// at one of them is never woken by the core's release.
import { beforeAll, describe, expect, it } from "vitest";
import { type VirtualAddress, virtualAddress } from "../../packages/core/src/bytes/brand.ts";
import type { Kernel } from "../../packages/core/src/kernel/kernel.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import type { DiagnoseResult } from "../../packages/core/src/results/results.ts";
import type { Finding, LockMixed, LockSide } from "../../packages/core/src/results/types.ts";
import { prepareCodecs } from "../../packages/node/src/codecs.ts";
import { FileSource } from "../../packages/node/src/file-source.ts";
import { diagnose, type LabDump, labDump, labHas } from "./support.ts";

const SLOW = "queued_spin_lock_slowpath";
const UNLOCK = "queued_spin_unlock";
/** By member: what the slot holds now, and what the sites hold that were patched before. */
const SWITCHED: Readonly<Record<string, readonly [now: string, before: string]>> = {
  [SLOW]: ["late_spin_lock_slowpath", "native_queued_spin_lock_slowpath"],
  [UNLOCK]: ["__raw_callee_save_late_spin_unlock", "inlined native queued code"],
  wait: ["late_wait", "NOPs"],
  kick: ["late_kick", "NOPs"],
};
/** pv_ops.lock up to 7.1, pv_ops_lock since; two of them are static calls since 7.3. */
const NAME = /^(?:pv_ops\.lock\.|pv_ops_lock\.|static call )(\w+)$/;
const HOLDERS = ["pv_ops", "pv_ops_lock", `__SCK__${SLOW}`, `__SCK__${UNLOCK}`];

function only<Id extends Finding["id"]>(findings: readonly Finding[], id: Id): Extract<Finding, { id: Id }>[] {
  return findings.filter((each): each is Extract<Finding, { id: Id }> => each.id === id);
}

describe.each(["5.10", "6.1", "6.12", "7"])("Debian %s, its lock slots changed too late", async (flavour) => {
  const here = await labHas(flavour);
  let dump: LabDump;
  let kernel: Kernel;
  let result: DiagnoseResult;
  let exitCode: number;
  beforeAll(async () => {
    if (!here) return;
    dump = await labDump(`${flavour}/late-switch-hang`);
    await prepareCodecs();
    kernel = openKernel(openDump(new FileSource(dump.path("elf"))));
    const ran = await diagnose(dump, "--json");
    exitCode = ran.exitCode;
    result = JSON.parse(ran.stdout) as DiagnoseResult;
  });

  const symbol = (name: string): VirtualAddress => {
    const found = kernel.allSymbols.lookup(name);
    if (found === undefined) throw new Error(`the dump has no symbol ${name}`);
    return found.address;
  };
  /** Whether a place, "0x…" and "name+0x1c [module]", is inside the function. */
  const inside = (place: { address: string; symbol: string }, name: string): void => {
    expect(place.symbol).toMatch(new RegExp(`^${name}\\+0x[0-9a-f]+ \\[late_user\\]$`));
    const near = kernel.allSymbols.nearest(virtualAddress(BigInt(place.address)));
    expect([near?.symbol.name, near?.symbol.address]).toEqual([name, symbol(name)]);
  };
  const mixed = (): LockMixed => {
    const found = only(result.findings, "lock.mixed");
    expect(found).toHaveLength(1);
    return found[0];
  };
  const side = (sides: readonly LockSide[], object: string): LockSide => {
    const [found, ...more] = sides.filter(({ byObject }) => byObject[object] !== undefined);
    expect(more).toEqual([]);
    return found;
  };

  it.skipIf(!here)("finds that and what follows from it, and nothing else", () => {
    expect(exitCode).toBe(1);
    const ids = [...new Set(result.findings.map(({ id }) => id))].sort();
    expect(ids).toEqual(["hang.lock-pair", "lock.mixed", "site.stale", "slot.late-write"]);
    expect(result.account.verdicts).toMatchObject({ foreign: 0, inFlight: 0, equivalent: 0, absent: 0 });
    expect(result.notChecked).toEqual([]);
  });

  it.skipIf(!here)("names the slots with their functions of before and now", () => {
    const found = only(result.findings, "slot.late-write");
    const members = found.map(({ slot }) => NAME.exec(slot.name)?.[1]);
    expect([...members].sort()).toEqual(Object.keys(SWITCHED).sort());
    let sites = 0;
    for (const { object, slot, address, patchedTo, sites: held, modulesAfter } of found) {
      const [now, before] = SWITCHED[NAME.exec(slot.name)?.[1] ?? ""];
      expect({ object, value: slot.value, patchedTo: Object.keys(patchedTo) }).toEqual({
        object: "vmlinux",
        value: now,
        patchedTo: [before],
      });
      expect(address).toBe(slot.address);
      const place = virtualAddress(BigInt(address));
      expect(kernel.memory.u64(place)).toBe(symbol(now));
      expect(HOLDERS).toContain(kernel.allSymbols.nearest(place)?.symbol.name);
      expect(modulesAfter).toEqual(["late_user"]);
      expect(held.before).toMatchObject({ vmlinux: expect.any(Number) });
      expect(held.before).not.toHaveProperty("late_user");
      expect(held.after.vmlinux).toBeUndefined();
      sites += Object.values(held.before).reduce((sum, count) => sum + count, 0);
    }
    // Each of these sites, and no other, holds what its slot does not call for now; a static call has a trampoline too.
    const stale = only(result.findings, "site.stale").filter((each) => !each.symbol.startsWith("__SCT__"));
    expect(stale).toHaveLength(sites);
    expect(sites).toBeGreaterThan(60);
  });

  it.skipIf(!here)("names the functions of both sides, and the module's own sites", () => {
    const { object, takers, releasers } = mixed();
    expect(object).toBe("late_user");
    expect(side(takers, "vmlinux")).toMatchObject({ family: "queued", function: `native_${SLOW}` });
    expect(side(releasers, "vmlinux")).toMatchObject({ family: "queued", function: "inlined code" });
    const takes = side(takers, "late_user");
    expect(takes).toMatchObject({ family: "byte", function: "late_spin_lock_slowpath", byObject: { late_user: 1 } });
    inside(takes.places[0], "late_user_lock");
    const releases = side(releasers, "late_user");
    expect(releases).toMatchObject({ family: "byte", function: "late_spin_unlock" });
    inside(releases.places[0], "late_user_unlock");
    expect(mixed().modulesAfter).toEqual(["late_user"]);
  });

  it.skipIf(!here)("names the lock, and CPU 2, which sleeps although it is free", () => {
    const { locks, title } = mixed();
    expect(locks).toHaveLength(1);
    const [lock] = locks;
    const address = `0x${symbol("late_lock").toString(16)}`;
    expect(lock).toMatchObject({ name: "late_lock [late_user]", address, bytes: "00 00 00 00", stuck: false });
    expect(lock.why).toMatch(/^the lock is free, yet CPU 2 sleeps: it missed its wake-up/);
    expect(lock).toMatchObject({ takenBy: "late_spin_lock_slowpath", releasedBy: "_raw_spin_unlock_irqrestore" });
    expect(title).toBe(
      "late_lock [late_user] is taken by late_spin_lock_slowpath and released by _raw_spin_unlock_irqrestore",
    );
    expect(lock.waiting).toHaveLength(1);
    expect(lock.waiting[0].cpu).toBe(2);
    expect(lock.waiting[0].task).toMatch(/^late_site \(PID \d+\)$/);
    expect(lock.waiting[0].function).toMatch(/^late_(sleep|spin_lock_slowpath)\+0x[0-9a-f]+ \[late_switch\]$/);
    expect(lock.takenAt).toContainEqual(
      expect.stringMatching(/^by_core\+0x[0-9a-f]+ \[late_user\] \(_raw_spin_lock_irqsave\)$/),
    );
    expect(lock.takenAt).toContainEqual(
      expect.stringMatching(/^late_user_lock\+0x[0-9a-f]+ \[late_user\] \(late_spin_lock_slowpath\)$/),
    );
  });

  it.skipIf(!here)("tells it in words", async () => {
    const { stdout } = await diagnose(dump);
    expect(stdout).toMatch(/CPU 2, late_site \(PID \d+\), waits in late_/);
    expect(stdout).toContain("It is not granted: the lock is free, yet CPU 2 sleeps: it missed its wake-up");
    expect(stdout).toMatch(/^[\d,]+ stale sites follow from the slots above/m);
  });

  it.skipIf(!here)("proves on the instructions that the late lock with the core's unlock hangs", () => {
    const found = only(result.findings, "hang.lock-pair");
    expect(found.map(({ severity, verdict, lock, unlock }) => [severity, verdict, lock, unlock])).toEqual([
      ["error", "hang", "late_spin_lock_slowpath", "inlined native queued code"],
    ]);
  });

  it.skipIf(!here)("proves the late functions safe with each other, and the core's too", () => {
    const own = result.proofs.filter(({ lock, unlock }) =>
      /^late_spin_lock_slowpath/.test(lock) ? /\[late_user\]$/.test(unlock) : !/\[late_user\]$/.test(unlock),
    );
    expect(own.map(({ verdict }) => verdict)).toEqual(["safe", "safe"]);
  });
});

const here = await labHas("6.1");
describe.skipIf(!here)("Debian 6.1, a module with lock sites of its own and no late change", () => {
  it("finds nothing", async () => {
    const { stdout, exitCode } = await diagnose(await labDump("6.1/late-user"), "--json");
    const { findings, notChecked } = JSON.parse(stdout) as DiagnoseResult;
    expect([findings, notChecked, exitCode]).toEqual([[], [], 0]);
  });
});
