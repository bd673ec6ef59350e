// Spins that count to 32,768, with a look at something else every 16 turns: a handful of states, and the same outcomes
// as a spin that counts to 48.
import { expect, test } from "vitest";
import { type Exploration, explore } from "../search/explorer.ts";
import { codeAddress, memoryOf, mfence, ret, store, VARIABLES, X, Y } from "../testing/code.ts";
import { RBX } from "./registers.ts";

const byte = (value: number): string => value.toString(16).padStart(2, "0");

/** EBX = 1 when X was seen set, 2 when Y was, 3 when the count ran out. */
const spin = (count: number): string => `
  b9 ${byte(count & 0xff)} ${byte(count >> 8)} 00 00   # mov $count,%ecx
  8b 04 25 00 10 00 00   # 1: mov X,%eax
  85 c0                  # test %eax,%eax
  75 1c                  # jne 2f
  f6 c1 0f               # test $0xf,%cl
  75 0b                  # jne 3f
  8b 14 25 40 10 00 00   # mov Y,%edx
  85 d2                  # test %edx,%edx
  75 12                  # jne 4f
  f3 90                  # 3: pause
  ff c9                  # dec %ecx
  75 df                  # jne 1b
  bb 03 00 00 00 c3      # mov $3,%ebx; ret
  bb 01 00 00 00 c3      # 2: mov $1,%ebx; ret
  bb 02 00 00 00 c3      # 4: mov $2,%ebx; ret`;

function run(count: number, writer: readonly string[]): { exploration: Exploration; outcomes: string[] } {
  const exploration = explore({
    memory: memoryOf([
      VARIABLES,
      { address: codeAddress(0), hex: spin(count) },
      { address: codeAddress(1), hex: [...writer, ret].join(" ") },
    ]),
    model: "tso",
    keepRegisters: true,
    programs: [0, 1].map((cpu) => ({
      rounds: 1,
      phases: [{ kind: "run", entry: { address: codeAddress(cpu), registers: {} } }],
    })),
  });
  const row = new Int32Array(exploration.model.width);
  const outcomes = exploration.finished.map((state) => {
    exploration.states.read(state, row);
    return String(exploration.model.local(row[0]).general[RBX]);
  });
  return { exploration, outcomes: [...new Set(outcomes)].sort() };
}

test.each([
  ["nothing is ever set", [store(X + 128, 1)], ["3"]],
  ["X is set for a while", [store(X, 1), store(X, 0)], ["1", "3"]],
  ["Y is set", [store(Y, 1)], ["2", "3"]],
  ["one after the other", [store(X, 1), mfence, store(X, 0), store(Y, 1)], ["1", "2", "3"]],
])("%s", (_, writer, outcomes) => {
  const long = run(0x8000, writer);
  expect(long.outcomes).toEqual(outcomes);
  expect(run(0x30, writer).outcomes).toEqual(outcomes);
  expect(long.exploration.states.count).toBeLessThan(200);
});

test("a counter that only grows, as statistics do, never ends its loop by itself", () => {
  // 1: mov X,%eax; inc %rcx; test %eax,%eax; je 1b; ret
  const code = "31 c9 8b 04 25 00 10 00 00 48 ff c1 85 c0 74 f2 c3";
  const exploration = explore({
    memory: memoryOf([
      VARIABLES,
      { address: codeAddress(0), hex: code },
      { address: codeAddress(1), hex: [store(X, 1), ret].join(" ") },
    ]),
    model: "tso",
    programs: [0, 1].map((cpu) => ({
      rounds: 1,
      phases: [{ kind: "run", entry: { address: codeAddress(cpu), registers: {} } }],
    })),
  });
  expect(exploration.finished.length).toBeGreaterThan(0);
  expect(exploration.states.count).toBeLessThan(50);
  expect([...exploration.model.spinPlaces.values()]).toEqual(["endless"]);
});
