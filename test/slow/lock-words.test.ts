// Lock words that real kernels wrote: the lab's module lock_states takes locks of every type, and tasks and CPUs wait for
// them. What each decoder says is asserted in full: fields, owner, waiters in their order.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import type { VirtualAddress } from "../../packages/core/src/bytes/brand.ts";
import type { Kernel } from "../../packages/core/src/kernel/kernel.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { SpinQueues } from "../../packages/core/src/locks/waits/queue.ts";
import { decodeMutex } from "../../packages/core/src/locks/words/mutex.ts";
import { decodeQspinlock, encodeTail } from "../../packages/core/src/locks/words/qspinlock.ts";
import { decodeRtMutex } from "../../packages/core/src/locks/words/rt-mutex.ts";
import { decodeRwlock } from "../../packages/core/src/locks/words/rwlock.ts";
import { decodeRwsem } from "../../packages/core/src/locks/words/rwsem.ts";
import { decodeSemaphore } from "../../packages/core/src/locks/words/semaphore.ts";
import type { LockWord } from "../../packages/core/src/locks/words/types.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import type { LocksResult } from "../../packages/core/src/results/lock-results.ts";
import type { AuditResult } from "../../packages/core/src/results/results.ts";
import { PerCpu } from "../../packages/core/src/tasks/per-cpu.ts";
import { run } from "../../packages/lab/command.ts";
import type { DumpOptions } from "../../packages/lab/dump-types.ts";
import { prepareCodecs } from "../../packages/node/src/codecs.ts";
import { FileSource } from "../../packages/node/src/file-source.ts";
import { diagnose, type LabDump, labDump, labHas, palimpsest } from "./support.ts";

const CPUS = 5;
/** A guest that sees its hypervisor takes test-and-set locks, in which no queue shows. */
const GUEST: Partial<DumpOptions> = {
  cpus: CPUS,
  cpuModel: "max,-hypervisor",
  modules: ["qemu_fw_cfg", "floppy", "loop"],
  states: ["lock-states"],
};
const SYSTEM_PYTHON = "/usr/bin/python3";
const hasDrgn = existsSync("/usr/lib/python3/dist-packages/drgn");

/** A lock's state in short: "held by lk_holder", who waits in order. */
interface Told {
  readonly state: LockWord["state"];
  readonly fields: LockWord["fields"];
  readonly owner: string | undefined;
  readonly waiters: readonly string[];
}

function told(word: LockWord): Told {
  expect(word.problems).toEqual([]);
  const waiters = (word.waiters ?? []).map(({ task, kind }) =>
    kind === undefined ? task.comm : `${task.comm} ${kind}`,
  );
  for (const each of word.waiters ?? []) expect(each.task.pid).toBeGreaterThan(1);
  return { state: word.state, fields: word.fields, owner: word.owner?.comm, waiters };
}

class Locks {
  constructor(
    readonly kernel: Kernel,
    readonly cpus = new PerCpu(kernel).possible,
  ) {}

  at(name: string): VirtualAddress {
    const symbol = this.kernel.allSymbols.lookup(name);
    if (symbol === undefined) throw new Error(`the dump has no symbol ${name}`);
    return symbol.address;
  }

  spin(name: string) {
    return decodeQspinlock(this.kernel.memory.read(this.at(name), 4), this.cpus, false);
  }

  rw(name: string): Told {
    return told(decodeRwlock(this.kernel.memory.read(this.at(name), 8), "modern", this.cpus));
  }
}

async function open(dump: LabDump): Promise<Locks> {
  await prepareCodecs();
  return new Locks(openKernel(openDump(new FileSource(dump.path("elf")))));
}

const free = { state: "free", owner: undefined, waiters: [] } as const;
const held = { state: "held", owner: "lk_holder", waiters: [] } as const;
const waitedFor = (...waiters: string[]) => ({ state: "contended", owner: "lk_holder", waiters }) as const;

describe.each(["5.10", "6.1", "6.12", "7"])("Debian %s", async (flavour) => {
  const here = await labHas(flavour);
  let dump: LabDump;
  let locks: Locks;
  beforeAll(async () => {
    if (!here) return;
    dump = await labDump(flavour, GUEST);
    locks = await open(dump);
  });

  it.skipIf(!here)("queued spinlocks: held, and waited for by one, two and three CPUs", () => {
    spinlocks(locks);
  });

  it.skipIf(!here)("queued rwlocks: read, written, a writer and a reader wait", () => {
    const word = (name: string) => locks.rw(`lk_rw_${name}`);
    const nobody = { writer: 0, waiting: 0, readers: 0, waitLock: "00 00 00 00" };
    const nameless = { owner: undefined, waiters: [] };
    expect(word("free")).toEqual({ ...free, fields: nobody });
    expect(word("read")).toEqual({ ...nameless, state: "held", fields: { ...nobody, readers: 2 } });
    expect(word("written")).toEqual({ ...nameless, state: "held", fields: { ...nobody, writer: 255 } });
    // CPU 3, which is to write, has the wait_lock; CPU 4, which is to read, waits for that one with its pending bit.
    const fields = { writer: 0, waiting: 1, readers: 1, waitLock: "01 01 00 00" };
    expect(word("contended")).toEqual({ ...nameless, state: "contended", fields });
  });

  it.skipIf(!here)("mutexes", () => {
    const word = (name: string) => told(decodeMutex(locks.kernel, locks.at(`lk_mutex_${name}`)));
    const owner = ownerOf(decodeMutex(locks.kernel, locks.at("lk_mutex_held")));
    expect(word("free")).toEqual({ ...free, fields: { owner: "none", flags: "none", waiters: 0 } });
    expect(word("held")).toEqual({ ...held, fields: { owner, flags: "none", waiters: 0 } });
    const contended = { ...waitedFor("lk_mutex_1", "lk_mutex_2"), fields: { owner, flags: "waiters", waiters: 2 } };
    expect(word("contended")).toEqual(contended);
  });

  it.skipIf(!here)("rw_semaphores", () => {
    const word = (name: string) => told(decodeRwsem(locks.kernel, locks.at(`lk_rwsem_${name}`)));
    expect(word("free")).toEqual({ ...free, fields: { count: "0x0", flags: "none", readers: 0, waiters: 0 } });
    const read = { count: "0x200", flags: "none", readers: 2, waiters: 0 };
    expect(word("read")).toEqual({ ...held, owner: undefined, fields: read });
    expect(decodeRwsem(locks.kernel, locks.at("lk_rwsem_read")).meaning).toMatch(
      /^held for reading by 2 tasks, the last to come was lk_reader \(PID \d+\)$/,
    );
    const written = { count: "0x1", flags: "writer locked", readers: 0, waiters: 0 };
    expect(word("written")).toEqual({ ...held, fields: written });
    const fields = { count: "0x3", flags: "writer locked, waiters", readers: 0, waiters: 2 };
    expect(word("contended")).toEqual({ ...waitedFor("lk_rwsem_r reader", "lk_rwsem_w writer"), fields });
    expect(word("crowded")).toEqual({
      ...waitedFor("lk_crowd_w writer", "lk_crowd_r reader"),
      owner: undefined,
      fields: { count: "0x102", flags: "waiters", readers: 1, waiters: 2 },
    });
  });

  it.skipIf(!here)("semaphores and rt_mutexes", () => sleeping(locks));

  it.skipIf(!here || !hasDrgn)("mutexes and rw_semaphores: drgn reads the same owners, counts and flags", async () => {
    expect(await inDrgn(dump, locks)).toEqual(OWNED.map((name) => owned(locks, name)));
  });

  it.skipIf(!here)("`locks` lists each of them with the tasks and CPUs that wait, in their order", async () => {
    expect(await waitingFor(dump)).toEqual({ ...SPINNING, ...SLEEPING });
  });

  it.skipIf(!here)("is a healthy kernel: no mixed locks, no late slots, nothing else", async () => {
    const { stdout, exitCode } = await diagnose(dump, "--json");
    expect([(JSON.parse(stdout) as AuditResult).findings, exitCode]).toEqual([[], 0]);
  });
});

const rtHere = await labHas("6.12-rt");
describe.skipIf(!rtHere)("Debian 6.12 with PREEMPT_RT", () => {
  let dump: LabDump;
  let locks: Locks;
  beforeAll(async () => {
    dump = await labDump("6.12-rt", GUEST);
    locks = await open(dump);
  });

  it("raw spinlocks: held, and waited for by one, two and three CPUs", () => spinlocks(locks));

  it("mutexes, rw_semaphores and spinlocks are rt_mutexes: the waiter of higher priority stands first", () => {
    const { kernel } = locks;
    const flags = ({ fields }: Told) => fields.flags;
    const mutex = (name: string) => told(decodeMutex(kernel, locks.at(`lk_mutex_${name}`)));
    expect([mutex("free"), mutex("held")]).toMatchObject([free, held]);
    expect(mutex("contended")).toMatchObject(waitedFor("lk_mutex_1", "lk_mutex_2"));
    const rwsem = (name: string) => told(decodeRwsem(kernel, locks.at(`lk_rwsem_${name}`)));
    expect(rwsem("free")).toMatchObject(free);
    expect(rwsem("read")).toMatchObject({ state: "held", owner: undefined });
    expect(decodeRwsem(kernel, locks.at("lk_rwsem_read")).meaning).toBe("held for reading by 2");
    expect(rwsem("written")).toMatchObject(held);
    expect(rwsem("contended")).toMatchObject(waitedFor("lk_rwsem_r", "lk_rwsem_w"));
    const crowded = { ...waitedFor("lk_crowd_w writer", "lk_crowd_r"), owner: undefined, fields: { readers: "0x1" } };
    expect(rwsem("crowded")).toMatchObject(crowded);
    const spinlock = (name: string) => told(decodeRtMutex(kernel, locks.at(`lk_sleeping_${name}`)));
    expect([spinlock("free"), spinlock("held")]).toMatchObject([free, held]);
    expect(spinlock("contended")).toMatchObject(waitedFor("lk_sleeping_2", "lk_sleeping_1"));
    expect([flags(spinlock("held")), flags(spinlock("contended"))]).toEqual(["none", "has waiters"]);
  });

  it("semaphores and rt_mutexes", () => sleeping(locks));

  it("`locks` lists each of them with the tasks and CPUs that wait, in their order", async () => {
    const { lk_rw_contended: _, ...spinning } = SPINNING;
    // An rt_mutex does not tell readers from writers.
    const rt = { rwsem_contended: ["lk_rwsem_r", "lk_rwsem_w"], rwsem_crowded: ["lk_crowd_w writer", "lk_crowd_r"] };
    expect(await waitingFor(dump)).toEqual({
      ...spinning,
      ...SLEEPING,
      lk_rwsem_contended: rt.rwsem_contended,
      lk_rwsem_crowded: rt.rwsem_crowded,
      lk_sleeping_contended: ["lk_sleeping_2", "lk_sleeping_1"],
    });
  });
});

/** Who waits for which lock, the first to get it first; packages/lab/modules/lock_states.c tells the same. */
const SPINNING: Readonly<Record<string, readonly string[]>> = {
  lk_spin_one: ["CPU 4"],
  lk_spin_two: ["CPU 1", "CPU 2 node 1"],
  lk_spin_three: ["CPU 1", "CPU 2 node 0", "CPU 3 node 0"],
  lk_rw_contended: ["CPU 3 writer", "CPU 4 reader"],
};
const SLEEPING: Readonly<Record<string, readonly string[]>> = {
  lk_mutex_contended: ["lk_mutex_1", "lk_mutex_2"],
  lk_rwsem_contended: ["lk_rwsem_r reader", "lk_rwsem_w writer"],
  lk_rwsem_crowded: ["lk_crowd_w writer", "lk_crowd_r reader"],
  lk_sem_contended: ["lk_sem_1", "lk_sem_2"],
  lk_rt_contended: ["lk_rt_2", "lk_rt_1"],
};

/** What `locks` says of the module's locks that somebody waits for. */
async function waitingFor(dump: LabDump): Promise<Record<string, string[]>> {
  const { stdout, exitCode } = await palimpsest(["locks", dump.path(), "--image", dump.vmlinuz, "--json"]);
  const { locks } = JSON.parse(stdout) as LocksResult;
  expect(exitCode).toBe(0);
  const own = locks.filter(({ symbol }) => symbol.endsWith(" [lock_states]"));
  expect(own.filter(({ problems, state }) => problems.length > 0 || !/^(held|contended)$/.test(state))).toEqual([]);
  const waiting = own.filter(({ waiters }) => waiters.length > 0);
  return Object.fromEntries(
    waiting.map(({ symbol, waiters }) => [
      symbol.replace(/ .*/, ""),
      waiters.map(({ cpu, node, task, kind }) =>
        [cpu === undefined ? task?.comm : `CPU ${cpu}`, node === undefined ? undefined : `node ${node}`, kind]
          .filter((part) => part !== undefined)
          .join(" "),
      ),
    ]),
  );
}

function ownerOf(word: LockWord): string {
  expect(word.owner?.comm).toBe("lk_holder");
  return word.owner?.address ?? "";
}

function spinlocks(locks: Locks): void {
  const word = (name: string) => {
    const { state, fields, problems } = locks.spin(`lk_spin_${name}`);
    expect(problems).toEqual([]);
    return { state, ...fields };
  };
  expect(word("free")).toEqual({ state: "free", locked: 0, pending: 0, tail: 0 });
  expect(word("held")).toEqual({ state: "held", locked: 1, pending: 0, tail: 0 });
  expect(word("one")).toEqual({ state: "contended", locked: 1, pending: 1, tail: 0 });
  // CPU 2 waits for lk_spin_three with its node 0 already.
  expect(word("two")).toEqual({ state: "contended", locked: 1, pending: 1, tailCpu: 2, tailNode: 1 });
  expect(word("three")).toEqual({ state: "contended", locked: 1, pending: 1, tailCpu: 3, tailNode: 0 });
  const queues = new SpinQueues(locks.kernel, new PerCpu(locks.kernel), [0, 1, 2, 3, 4]);
  const nodes = queues.nodes.map((node) => [node.cpu, node.index, queues.tailOf(node)]);
  const three = encodeTail(3, 0);
  expect(nodes).toEqual([
    [2, 0, three],
    [2, 1, encodeTail(2, 1)],
    [3, 0, three],
  ]);
}

function sleeping(locks: Locks): void {
  const { kernel } = locks;
  const semaphore = (name: string) => told(decodeSemaphore(kernel, locks.at(`lk_sem_${name}`)));
  expect(semaphore("free")).toEqual({ ...free, fields: { count: 2, waiters: 0 } });
  // Newer kernels remember who took a semaphore last.
  const nameless = { owner: semaphore("held").owner === undefined ? undefined : "lk_holder" };
  expect(semaphore("held")).toEqual({ ...held, ...nameless, fields: { count: 0, waiters: 0 } });
  const waited = { ...waitedFor("lk_sem_1", "lk_sem_2"), ...nameless, fields: { count: 0, waiters: 2 } };
  expect(semaphore("contended")).toEqual(waited);
  const mutex = (name: string) => told(decodeRtMutex(kernel, locks.at(`lk_rt_${name}`)));
  const owner = ownerOf(decodeRtMutex(kernel, locks.at("lk_rt_held")));
  expect(mutex("free")).toEqual({ ...free, fields: { owner: "none", flags: "none", waiters: 0 } });
  expect(mutex("held")).toEqual({ ...held, fields: { owner, flags: "none", waiters: 0 } });
  // The second to come has the higher priority.
  const contended = { ...waitedFor("lk_rt_2", "lk_rt_1"), fields: { owner, flags: "has waiters", waiters: 2 } };
  expect(mutex("contended")).toEqual(contended);
}

const OWNED = ["mutex_free", "mutex_held", "mutex_contended"].concat(
  ["free", "read", "written", "contended", "crowded"].map((name) => `rwsem_${name}`),
);

/** What the decoders say, in the shape in which lock-owners.py says it. */
function owned(locks: Locks, name: string): Record<string, unknown> {
  const address = locks.at(`lk_${name}`);
  if (name.startsWith("mutex")) {
    const { owner, fields } = decodeMutex(locks.kernel, address);
    const task = { task: owner?.address ?? "0x0", flags: fields.flags };
    return owner === undefined ? task : { ...task, pid: owner.pid, comm: owner.comm };
  }
  const { owner, fields, meaning } = decodeRwsem(locks.kernel, address);
  const reader = /the last to come was (\S+) \(PID (\d+)\)/.exec(meaning);
  const word = { count: fields.count, readerOwned: reader !== null };
  if (reader !== null) return { ...word, pid: Number(reader[2]), comm: reader[1] };
  return owner === undefined ? word : { ...word, pid: owner.pid, comm: owner.comm };
}

async function inDrgn(dump: LabDump, locks: Locks): Promise<unknown> {
  const script = fileURLToPath(new URL("lock-owners.py", import.meta.url));
  const module = join(dump.modules, "lock_states.ko");
  const places = OWNED.map((name) => `${name.split("_")[0]}:${locks.at(`lk_${name}`).toString(16)}`);
  const args = [script, dump.path("elf"), module, ...places];
  return JSON.parse((await run(SYSTEM_PYTHON, args, { timeoutSeconds: 120 })).stdout.toString());
}
