// Sleeping locks: owner words, counts and lists of waiters, in the layouts of several eras, and lists that loop or dangle.
import { expect, test } from "vitest";
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { StructShape } from "../../symbols/known-shapes/shape-types.ts";
import { fakeKernel, quad, type Runs, taskBytes } from "../testing/fake-kernel.ts";
import { decodeMutex } from "./mutex.ts";
import { decodeRtMutex } from "./rt-mutex.ts";
import { decodeRwsem } from "./rwsem.ts";
import { decodeSemaphore } from "./semaphore.ts";
import type { LockWord } from "./types.ts";

const LOCK = 0xffff888000001000n;
const OWNER = 0xffff888000002000n;
const OTHER = 0xffff888000003000n;
const W1 = 0xffffc90000004000n;
const W2 = 0xffffc90000005000n;
const TASKS: Runs = [
  [OWNER, taskBytes(41, "holder")],
  [OTHER, taskBytes(42, "waiter")],
];
const MUTEX: StructShape = {
  name: "struct mutex",
  size: 32,
  members: [
    ["owner", 0, "u64"],
    ["wait_list", 16, "struct list_head"],
  ],
};
const waiter = (next: bigint, prev: bigint, task: bigint, tail = quad(0n)): string =>
  `${quad(next)} ${quad(prev)} ${quad(task)} ${tail}`;
const at = (address: bigint): VirtualAddress => virtualAddress(address);
const brief = (word: LockWord): unknown[] => [word.state, word.meaning, word.problems];
const mutexAt = (word: bigint, next: bigint, prev: bigint): readonly [bigint, string] => [
  LOCK,
  `${quad(word)} ${quad(0n)} ${quad(next)} ${quad(prev)}`,
];
const LIST = LOCK + 16n;
const mutexKernel = (...runs: Runs): Kernel => fakeKernel([...TASKS, ...runs], {}, [MUTEX]);

test("mutex: free, held, contended", () => {
  expect(brief(decodeMutex(mutexKernel(mutexAt(0n, LIST, LIST)), at(LOCK)))).toEqual(["free", "free", []]);
  const held = decodeMutex(mutexKernel(mutexAt(OWNER, LIST, LIST)), at(LOCK));
  expect(brief(held)).toEqual(["held", "held by holder (PID 41)", []]);
  const kernel = mutexKernel(mutexAt(OWNER | 1n, W1, W2), [W1, waiter(W2, LIST, OTHER)], [W2, waiter(LIST, W1, OWNER)]);
  const contended = decodeMutex(kernel, at(LOCK));
  expect(brief(contended)).toEqual(["contended", "held by holder (PID 41), tasks wait", []]);
  expect(contended.fields).toEqual({ owner: "0xffff888000002000", flags: "waiters", waiters: 2 });
  expect(contended.waiters?.map((each) => each.task.comm)).toEqual(["waiter", "holder"]);
});

test("mutex: an owner that is no task, a list that loops, dangles or is NULL, a lock outside the dump", () => {
  const nobody = decodeMutex(mutexKernel(mutexAt(0xffff888000009000n, LIST, LIST)), at(LOCK));
  expect(brief(nobody).slice(0, 2)).toEqual([
    "impossible",
    "its owner word leads to 0xffff888000009000, where no task is",
  ]);
  const loops = mutexKernel(mutexAt(OWNER | 1n, W1, W2), [W1, waiter(W2, LIST, OTHER)], [W2, waiter(W1, W1, OTHER)]);
  expect(decodeMutex(loops, at(LOCK)).problems).toEqual(["its list of waiters loops after 2"]);
  const dangles = mutexKernel(mutexAt(OWNER | 1n, W1, W2), [W1, waiter(0x10n, LIST, OTHER)]);
  expect(decodeMutex(dangles, at(LOCK)).problems).toEqual([
    "its list of waiters: 0x10: not in the dump (page) after 1",
  ]);
  const nulls = mutexKernel(mutexAt(OWNER | 1n, W1, W2), [W1, waiter(0n, LIST, OTHER)]);
  expect(decodeMutex(nulls, at(LOCK)).problems).toEqual(["its list of waiters has a NULL pointer after 1"]);
  expect(() => decodeMutex(mutexKernel(), at(LOCK))).toThrow("0xffff888000001000: not in the dump (page)");
});

test("mutex of 7.x: the first waiter instead of a list head", () => {
  const shape: StructShape = {
    ...MUTEX,
    members: [
      ["owner", 0, "u64"],
      ["first_waiter", 16, "void *"],
    ],
  };
  const kernel = fakeKernel(
    [...TASKS, mutexAt(OWNER | 1n, W1, 0n), [W1, waiter(W2, W2, OTHER)], [W2, waiter(W1, W1, OTHER)]],
    {},
    [shape],
  );
  expect(decodeMutex(kernel, at(LOCK)).waiters?.length).toBe(2);
  const free = fakeKernel([...TASKS, mutexAt(0n, 0n, 0n)], {}, [shape]);
  expect(brief(decodeMutex(free, at(LOCK)))).toEqual(["free", "free", []]);
});

test("mutex up to 4.9: a counter, the owner behind it as a task or a thread_info", () => {
  const shape: StructShape = {
    name: "struct mutex",
    members: [
      ["count", 0, "int"],
      ["wait_list", 8, "struct list_head"],
    ],
  };
  const list = LOCK + 8n;
  const kernelOf = (count: bigint, owner: bigint, ...more: Runs): Kernel =>
    fakeKernel([...TASKS, [LOCK, `${quad(count)} ${quad(list)} ${quad(list)} ${quad(owner)}`], ...more], {}, [shape]);
  expect(brief(decodeMutex(kernelOf(1n, 0n), at(LOCK)))).toEqual(["free", "free", []]);
  expect(decodeMutex(kernelOf(0n, OWNER), at(LOCK)).meaning).toBe("held by holder (PID 41)");
  const info = 0xffff888000006000n;
  expect(decodeMutex(kernelOf(0xffffffffn, info, [info, quad(OWNER)]), at(LOCK)).meaning).toBe(
    "held by holder (PID 41), tasks wait",
  );
  expect(decodeMutex(kernelOf(7n, 0n), at(LOCK)).state).toBe("impossible");
});

const RWSEM: StructShape = {
  name: "struct rw_semaphore",
  size: 40,
  members: [
    ["count", 0, "atomic_long_t"],
    ["owner", 8, "atomic_long_t"],
    ["wait_list", 24, "struct list_head"],
  ],
};
const ATOMIC: StructShape = { name: "atomic_long_t", size: 8, members: [["counter", 0, "long int"]] };

test.each<[string, bigint, bigint, string, string]>([
  ["free", 0n, 0n, "free", "free"],
  ["a writer", 1n, OWNER, "held", "held for writing by holder (PID 41)"],
  ["readers", 0x200n, OTHER | 1n, "held", "held for reading by 2 tasks, the last to come was waiter (PID 42)"],
  ["a reader's note left behind", 0n, OTHER | 1n, "free", "free"],
  [
    "a writer that is no task",
    1n,
    0xffff888000009000n,
    "impossible",
    "its owner word leads to 0xffff888000009000, where no task is",
  ],
])("rw_semaphore since 5.3: %s", (_, count, owner, state, meaning) => {
  const list = LOCK + 24n;
  const run = `${quad(count)} ${quad(owner)} ${quad(0n)} ${quad(list)} ${quad(list)}`;
  const kernel = fakeKernel([...TASKS, [LOCK, run]], {}, [ATOMIC, RWSEM]);
  expect(brief(decodeRwsem(kernel, at(LOCK))).slice(0, 2)).toEqual([state, meaning]);
});

test("rw_semaphore since 5.3: a reader and a writer wait", () => {
  const list = LOCK + 24n;
  const run = `${quad(3n)} ${quad(OWNER)} ${quad(0n)} ${quad(W1)} ${quad(W2)}`;
  const kernel = fakeKernel(
    [...TASKS, [LOCK, run], [W1, waiter(W2, list, OTHER, quad(1n))], [W2, waiter(list, W1, OTHER, quad(0n))]],
    {},
    [ATOMIC, RWSEM],
  );
  const word = decodeRwsem(kernel, at(LOCK));
  expect([word.state, word.waiters?.map((each) => each.kind)]).toEqual(["contended", ["reader", "writer"]]);
  expect(word.fields.flags).toBe("writer locked, waiters");
});

/** What only kernels with CONFIG_SMP have. */
const SMP = { __per_cpu_offset: 0xffffffff82fff000n };

test.each<[bigint, string]>([
  [0n, "free"],
  [2n, "held by 2 readers"],
  [0xffffffff00000001n, "held for writing"],
])("rw_semaphore up to 5.2, count %x: %s", (count, meaning) => {
  const list = LOCK + 16n;
  const kernel = fakeKernel(
    [...TASKS, [LOCK, `${quad(count)} ${quad(0n)} ${quad(list)} ${quad(list)} ${quad(0n)}`]],
    SMP,
  );
  expect(decodeRwsem(kernel, at(LOCK)).meaning).toBe(meaning);
});

test("semaphore: free, all taken, waited for, waited for although free", () => {
  const list = LOCK + 8n;
  const kernelOf = (count: bigint, next: bigint): Kernel =>
    fakeKernel(
      [...TASKS, [LOCK, `${quad(count << 32n)} ${quad(next)} ${quad(next)}`], [W1, waiter(list, list, OTHER)]],
      SMP,
    );
  expect(brief(decodeSemaphore(kernelOf(2n, list), at(LOCK)))).toEqual(["free", "2 left", []]);
  expect(brief(decodeSemaphore(kernelOf(0n, list), at(LOCK)))).toEqual(["held", "all taken", []]);
  expect(brief(decodeSemaphore(kernelOf(0n, W1), at(LOCK)))).toEqual(["contended", "all taken, 1 wait", []]);
  expect(decodeSemaphore(kernelOf(1n, W1), at(LOCK)).problems).toEqual(["1 tasks wait although its count is 1"]);
});

const RT: readonly StructShape[] = [
  {
    name: "struct rb_node",
    members: [
      ["__rb_parent_color", 0, "u64"],
      ["rb_right", 8, "void *"],
      ["rb_left", 16, "void *"],
    ],
  },
  {
    name: "struct rt_mutex_waiter",
    members: [
      ["tree_entry", 0, "struct rb_node"],
      ["task", 24, "void *"],
    ],
  },
  {
    name: "struct rt_mutex_base",
    size: 32,
    members: [
      ["waiters.rb_root.rb_node", 8, "void *"],
      ["owner", 24, "u64"],
    ],
  },
];
const node = (right: bigint, left: bigint, task: bigint): string =>
  `${quad(0n)} ${quad(right)} ${quad(left)} ${quad(task)}`;

test("rt_mutex: owner, flag, a tree of waiters in order, a tree that loops", () => {
  const kernelOf = (owner: bigint, root: bigint, ...more: Runs): Kernel =>
    fakeKernel([...TASKS, [LOCK, `${quad(0n)} ${quad(root)} ${quad(0n)} ${quad(owner)}`], ...more], {}, RT);
  expect(brief(decodeRtMutex(kernelOf(0n, 0n), at(LOCK)))).toEqual(["free", "free", []]);
  const word = decodeRtMutex(kernelOf(OWNER | 1n, W1, [W1, node(0n, W2, OTHER)], [W2, node(0n, 0n, OWNER)]), at(LOCK));
  expect([word.state, word.waiters?.map((each) => each.task.comm)]).toEqual(["contended", ["holder", "waiter"]]);
  const loops = decodeRtMutex(kernelOf(OWNER | 1n, W1, [W1, node(0n, W2, OTHER)], [W2, node(W1, 0n, OTHER)]), at(LOCK));
  expect(loops.problems).toEqual(["its tree of waiters loops after 1"]);
});

const RT_RWSEM: StructShape = {
  name: "struct rw_semaphore",
  size: 40,
  members: [
    ["rwbase.readers", 0, "u32"],
    ["rwbase.rtmutex", 8, "struct rt_mutex_base"],
  ],
};

test.each<[string, bigint, bigint, bigint, string, string, readonly string[]]>([
  ["free", 0x80000000n, 0n, 0n, "free", "free", []],
  ["readers", 0x80000002n, 0n, 0n, "held", "held for reading by 2", []],
  ["a writer", 0x40000000n, OWNER, 0n, "held", "held for writing by holder (PID 41)", []],
  [
    "a reader, for whose end the writer waits",
    1n,
    OTHER,
    0n,
    "contended",
    "held for reading by 1, tasks wait",
    ["waiter writer"],
  ],
  [
    "the same, and a reader behind it",
    1n,
    OTHER | 1n,
    W1,
    "contended",
    "held for reading by 1, tasks wait",
    ["waiter writer", "holder"],
  ],
  ["its readers left, the writer not yet in", 0n, OTHER, 0n, "contended", "free, tasks wait", ["waiter writer"]],
])("rw_semaphore of PREEMPT_RT: %s", (_, readers, owner, root, state, meaning, waiting) => {
  const run = `${quad(readers)} ${quad(0n)} ${quad(root)} ${quad(0n)} ${quad(owner)}`;
  const kernel = fakeKernel([...TASKS, [LOCK, run], [W1, node(0n, 0n, OWNER)]], {}, [...RT, RT_RWSEM]);
  const word = decodeRwsem(kernel, at(LOCK));
  expect(brief(word)).toEqual([state, meaning, []]);
  expect(word.waiters?.map(({ task, kind }) => `${task.comm} ${kind ?? ""}`.trim())).toEqual(waiting);
});
