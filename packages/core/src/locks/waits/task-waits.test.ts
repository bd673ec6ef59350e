// Two tasks that sleep for each other's mutexes, on stacks made by hand: who waits for what, the proof of the deadlock, and
// what must not count as one.
import { expect, test } from "vitest";
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { StructShape } from "../../symbols/known-shapes/shape-types.ts";
import { TextRanges } from "../../tasks/stack-scan.ts";
import { readTask } from "../../tasks/tasks.ts";
import { deadlocks } from "../findings/deadlock.ts";
import { LockState } from "../lock-state.ts";
import { fakeKernel, long, quad, type Runs } from "../testing/fake-kernel.ts";
import { evidenceText } from "./evidence-text.ts";
import { TaskWaits } from "./task-waits.ts";
import type { TaskWait } from "./wait.ts";

const TEXT = 0xffffffff81000000n;
const SYMBOLS = {
  _text: TEXT,
  schedule: TEXT + 0x100n,
  mutex_lock: TEXT + 0x200n,
  "__mutex_lock.constprop.0": TEXT + 0x300n,
  worker: TEXT + 0x400n,
  _etext: TEXT + 0x1000n,
  first: TEXT + 0x10000n,
  second: TEXT + 0x10100n,
};
const SLOW = SYMBOLS["__mutex_lock.constprop.0"];
const SIZE = 16384;
const USED = 256;

interface Sleeper {
  readonly task: bigint;
  readonly stack: bigint;
  /** the mutex on whose list it is */
  readonly waits: bigint;
  readonly state?: number;
  readonly comm: string;
  readonly pid: number;
}

const A: Sleeper = {
  task: 0xffff888000010000n,
  stack: 0xffffc90000100000n,
  waits: SYMBOLS.second,
  comm: "first_then_second",
  pid: 70,
};
const B: Sleeper = {
  task: 0xffff888000020000n,
  stack: 0xffffc90000200000n,
  waits: SYMBOLS.first,
  comm: "second_then_first",
  pid: 71,
};

const TASK: StructShape = {
  name: "struct task_struct",
  members: [
    ["__state", 0, "u32"],
    ["pid", 8, "int"],
    ["comm", 16, "char[16]"],
    ["stack", 32, "void *"],
    ["thread.sp", 40, "u64"],
  ],
};
const mutexShape = (list: string, type: string): StructShape => ({
  name: "struct mutex",
  size: 32,
  members: [
    ["owner", 0, "u64"],
    [list, 16, type],
  ],
});

const sp = ({ stack }: Sleeper): bigint => stack + BigInt(SIZE - USED);
/** The waiter lies 10 words above the stack pointer. */
const waiter = (sleeper: Sleeper): bigint => sp(sleeper) + 80n;
const call = (from: bigint, to: bigint): string => `e8 ${long(Number(to - from - 5n))}`;
const padded = (text: string): string => text.padEnd(16 * 3 - 1, " 00").slice(0, 16 * 3 - 1);
const comm = (text: string): string =>
  padded([...text.slice(0, 15)].map((char) => char.charCodeAt(0).toString(16)).join(" "));

function stackOf(sleeper: Sleeper, next: bigint): readonly [bigint, string] {
  const words = new Array<bigint>(USED / 8).fill(0n);
  // A register that the slow path saved: the lock.
  words[3] = sleeper.waits;
  words[6] = SLOW + 0x15n;
  words[10] = next;
  words[11] = next;
  words[12] = sleeper.task;
  words[20] = SYMBOLS.worker + 0x15n;
  return [sp(sleeper), words.map(quad).join(" ")];
}

function taskRun(sleeper: Sleeper): readonly [bigint, string] {
  const { task, state = 2, pid, stack } = sleeper;
  const head = `${quad(BigInt(state))} ${quad(BigInt(pid))}`;
  return [task, `${head} ${comm(sleeper.comm)} ${quad(stack)} ${quad(sp(sleeper))}`];
}

/** @param owners of `first` and `second` */
function kernelWith(
  owners: readonly [bigint, bigint],
  shape = mutexShape("wait_list", "struct list_head"),
  a = A,
): Kernel {
  const pointsBack = shape.members[1][0] === "wait_list";
  const head = (lock: bigint): bigint => lock + 16n;
  const mutex = (lock: bigint, owner: bigint, sleeper: Sleeper): readonly [bigint, string] => [
    lock,
    `${quad(owner)} ${quad(0n)} ${quad(waiter(sleeper))} ${quad(pointsBack ? waiter(sleeper) : 0n)}`,
  ];
  const next = (sleeper: Sleeper): bigint => (pointsBack ? head(sleeper.waits) : waiter(sleeper));
  const runs: Runs = [
    [SYMBOLS.worker + 0xen, `90 90 ${call(SYMBOLS.worker + 0x10n, SYMBOLS.mutex_lock)}`],
    [SLOW + 0xen, `90 90 ${call(SLOW + 0x10n, SYMBOLS.schedule)}`],
    taskRun(a),
    taskRun(B),
    stackOf(a, next(a)),
    stackOf(B, next(B)),
    mutex(SYMBOLS.first, owners[0], B),
    mutex(SYMBOLS.second, owners[1], a),
  ];
  return fakeKernel(runs, SYMBOLS, [TASK, shape]);
}

function waitsIn(kernel: Kernel): TaskWait[] {
  const waits = new TaskWaits(kernel, new TextRanges(kernel), SIZE);
  const at = (address: bigint): VirtualAddress => virtualAddress(address);
  return [A, B].flatMap(({ task }) => waits.of(readTask(kernel, at(task))) ?? []);
}

const told = (kernel: Kernel) => deadlocks(kernel, new LockState(kernel).decoder, waitsIn(kernel));

test("a waiter on a stack leads to the lock, by the list that it is on", () => {
  const waits = waitsIn(kernelWith([A.task | 1n, B.task | 1n]));
  expect(waits.map(({ task, kind, lock }) => [task.comm, kind, lock])).toEqual([
    ["first_then_seco", "mutex", SYMBOLS.second],
    ["second_then_fir", "mutex", SYMBOLS.first],
  ]);
  expect(evidenceText(waits[0])).toBe("a struct mutex_waiter on the stack of first_then_seco (PID 70) is on its list");
  expect(waits[0].frames.map(({ symbol }) => symbol)).toEqual(["__mutex_lock.constprop.0+0x15", "worker+0x15"]);
});

test("since 7.x the lock points to its first waiter, and no waiter to the lock", () => {
  const waits = waitsIn(kernelWith([A.task | 1n, B.task | 1n], mutexShape("first_waiter", "void *")));
  expect(waits.map(({ task, lock }) => [task.pid, lock])).toEqual([
    [70, SYMBOLS.second],
    [71, SYMBOLS.first],
  ]);
});

test("two waiters of 7.x point to each other as a lock points to its first one", () => {
  const lock = SYMBOLS.second;
  const both = { ...B, waits: lock };
  const link = (from: readonly [bigint, string]): readonly [bigint, string] => {
    // A saved register that holds the other waiter comes before the one that holds the lock.
    const words = from[1].split(" ");
    words.splice(16, 8, ...quad(waiter(A)).split(" "));
    return [from[0], words.join(" ")];
  };
  const runs: Runs = [
    [SYMBOLS.worker + 0xen, `90 90 ${call(SYMBOLS.worker + 0x10n, SYMBOLS.mutex_lock)}`],
    [SLOW + 0xen, `90 90 ${call(SLOW + 0x10n, SYMBOLS.schedule)}`],
    taskRun(A),
    taskRun(both),
    link(stackOf(A, waiter(both))),
    link(stackOf(both, waiter(A))),
    [lock, `${quad(1n)} ${quad(0n)} ${quad(waiter(A))} ${quad(0n)}`],
  ];
  const kernel = fakeKernel(runs, SYMBOLS, [TASK, mutexShape("first_waiter", "void *")]);
  expect(waitsIn(kernel).map((wait) => [wait.task.pid, wait.lock])).toEqual([
    [70, lock],
    [71, lock],
  ]);
});

test("an owner on either side that waits for the other is a deadlock", () => {
  const [finding, ...more] = told(kernelWith([A.task | 1n, B.task | 1n]));
  expect(more).toEqual([]);
  expect(finding.title).toBe("2 tasks wait for each other: first_then_seco (PID 70), second_then_fir (PID 71)");
  if (finding.id !== "hang.deadlock") throw new Error(finding.id);
  expect(finding.cycle.map(({ waitsFor, type }) => [waitsFor, type])).toEqual([
    ["second", "mutex"],
    ["first", "mutex"],
  ]);
  expect(finding.notes[0]).toBe(
    "first_then_seco (PID 70) waits for second (mutex) in __mutex_lock.constprop.0+0x15 ← worker+0x15; second_then_fir (PID 71) has it.",
  );
});

test("a task that waits for what it has", () => {
  const [finding, ...more] = told(kernelWith([0n, A.task | 1n]));
  expect(more).toEqual([]);
  expect([finding.id, finding.title]).toEqual([
    "hang.self-deadlock",
    "first_then_seco (PID 70) waits for second, which it has itself",
  ]);
});

test.each<[string, Kernel]>([
  ["nobody has one of them", kernelWith([A.task | 1n, 1n])],
  ["one of them is being handed over (MUTEX_FLAG_PICKUP)", kernelWith([A.task | 1n, B.task | 5n])],
  ["one of the tasks was woken", kernelWith([A.task | 1n, B.task | 1n], undefined, { ...A, state: 0 })],
  ["an owner that is no task", kernelWith([A.task | 1n, 0xffff888000030001n])],
])("no deadlock: %s", (_name, kernel) => {
  expect(told(kernel)).toEqual([]);
});

test("a list whose links disagree proves nothing", () => {
  const kernel = kernelWith([A.task | 1n, B.task | 1n]);
  const torn = { ...kernel, memory: Object.create(kernel.memory) } as Kernel;
  // prev of the lock's list leads elsewhere
  torn.memory.pointer = (address) =>
    address === SYMBOLS.first + 24n ? virtualAddress(A.task) : kernel.memory.pointer(address);
  expect(waitsIn(torn).map(({ task }) => task.pid)).toEqual([70]);
});
