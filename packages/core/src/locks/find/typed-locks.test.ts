// Locks inside variables by their types: nested structures, arrays, and unions, which tell nothing.
import { expect, test } from "vitest";
import { BtfTypes } from "../../symbols/btf.ts";
import { buildBtf, type FixtureType } from "../../symbols/testing/build-btf.ts";
import { PerCpu } from "../../tasks/per-cpu.ts";
import { fakeKernel, quad } from "../testing/fake-kernel.ts";
import { typedLocks } from "./typed-locks.ts";

const [INT, ARRAY, STRUCT, UNION, TYPEDEF, VAR, DATASEC] = [1, 3, 4, 5, 8, 14, 15];
const types: FixtureType[] = [
  { kind: INT, name: "unsigned int", value: 4, rest: [32] }, // 1
  { kind: STRUCT, name: "raw_spinlock", value: 4, vlen: 1, rest: ["v", 1, 0] }, // 2
  { kind: TYPEDEF, name: "raw_spinlock_t", value: 2 }, // 3
  { kind: STRUCT, name: "mutex", value: 16, vlen: 2, rest: ["owner", 1, 0, "wait_lock", 3, 64] }, // 4
  { kind: STRUCT, name: "base", value: 24, vlen: 2, rest: ["lock", 3, 0, "m", 4, 64] }, // 5
  { kind: ARRAY, rest: [5, 1, 2] }, // 6
  { kind: UNION, name: "either", value: 4, vlen: 2, rest: ["lock", 3, 0, "n", 1, 0] }, // 7
  { kind: UNION, value: 4, vlen: 2, rest: ["raw", 3, 0, "n", 1, 0] }, // 8
  { kind: STRUCT, name: "rq", value: 12, vlen: 3, rest: ["u", 7, 0, "", 8, 32, "__lock", 3, 64] }, // 9
  { kind: VAR, name: "bases", value: 6, rest: [0] }, // 10
  { kind: VAR, name: "runqueues", value: 9, rest: [0] }, // 11
  { kind: DATASEC, name: ".data..percpu", value: 128, vlen: 2, rest: [10, 0, 48, 11, 64, 12] }, // 12
];

test("of a per-CPU variable, for each CPU", () => {
  const table = 0xffffffff82000000n;
  const symbols = { __per_cpu_start: 0n, __per_cpu_offset: table, nr_cpu_ids: table + 64n };
  const offsets = [0xffff888010000000n, 0xffff888020000000n];
  const kernel = {
    ...fakeKernel(
      [
        [table, offsets.map(quad).join(" ")],
        [table + 64n, "02 00 00 00"],
      ],
      symbols,
    ),
    types: new BtfTypes(buildBtf(types)),
  };
  const locks = typedLocks(kernel, new PerCpu(kernel));
  expect(
    locks.filter(({ name }) => name.endsWith("CPU 1")).map(({ name, kind, address }) => [name, kind, address]),
  ).toEqual([
    // A mutex counts, not the spinlock inside it.
    ["bases[0].lock of CPU 1", "raw-spinlock", offsets[1]],
    ["bases[0].m of CPU 1", "mutex", offsets[1] + 8n],
    ["bases[1].lock of CPU 1", "raw-spinlock", offsets[1] + 24n],
    ["bases[1].m of CPU 1", "mutex", offsets[1] + 32n],
    ["runqueues.__lock of CPU 1", "raw-spinlock", offsets[1] + 72n],
  ]);
  expect(locks).toHaveLength(10);
});

test("none without variables, or without per-CPU memory", () => {
  const kernel = fakeKernel([]);
  expect(typedLocks(kernel, new PerCpu(kernel))).toEqual([]);
});
