// The memory model against the litmus tests of the x86-TSO papers (Owens, Sarkar, Sewell, TPHOLs 2009; x86-CC, POPL
// 2009; Intel's and AMD's own examples): exactly the outcomes that x86 allows are reached, under SC exactly those of SC.
import { expect, test } from "vitest";
import type { RegisterName } from "../../x86/register-names.ts";
import { registerNumber } from "../machine/registers.ts";
import { explore } from "../search/explorer.ts";
import {
  codeAddress,
  exchange,
  fetchAdd,
  increment,
  lfence,
  load,
  lockedIncrement,
  lockedStack,
  memoryOf,
  mfence,
  R,
  ret,
  sfence,
  store,
  store8,
  store16,
  VARIABLES,
  X,
  Y,
  Z,
} from "../testing/code.ts";
import type { MemoryModel } from "../types.ts";

/** "0:rax" a register of a CPU at its end, "x" a variable at the end. */
type Observable = `${number}:${RegisterName}` | "x" | "y" | "z";
const VARIABLE = { x: X, y: Y, z: Z } as const;

/** All outcomes of programs (machine code a CPU), as "rax,rcx" lists in hex, sorted. */
function outcomes(
  programs: readonly (readonly string[])[],
  observe: readonly Observable[],
  model: MemoryModel,
): string[] {
  const memory = memoryOf([
    VARIABLES,
    ...programs.map((code, i) => ({ address: codeAddress(i), hex: [...code, ret].join(" ") })),
  ]);
  const exploration = explore({
    memory,
    model,
    keepRegisters: true,
    programs: programs.map((_, i) => ({
      rounds: 1,
      phases: [{ kind: "run", entry: { address: codeAddress(i), registers: {} } }],
    })),
    // Observed variables are read from shared memory: name them even where one CPU alone uses them.
    lock: { address: BigInt(X), length: Z + 8 - X },
  });
  expect(exploration.bound).toBeUndefined();
  expect(exploration.violations).toEqual([]);
  const found = new Set<string>();
  const row = new Int32Array(exploration.model.width);
  for (const state of exploration.finished) {
    exploration.states.read(state, row);
    const values = observe.map((what) => {
      if (what === "x" || what === "y" || what === "z")
        return exploration.model.memory.peek(row[row.length - 1], BigInt(VARIABLE[what]), 4);
      const [cpu, register] = what.split(":");
      return exploration.model.local(row[Number(cpu)]).general[registerNumber(register as RegisterName)] & 0xffffffffn;
    });
    found.add(values.map((v) => v.toString(16)).join(","));
  }
  return [...found].sort();
}

interface Litmus {
  readonly name: string;
  readonly programs: readonly (readonly string[])[];
  readonly observe: readonly Observable[];
  readonly sc: readonly string[];
  /** outcomes beyond `sc` */
  readonly tso: readonly string[];
}

const loads = (a: number, b: number): string[] => [load(R.eax, a), load(R.ecx, b)];
const all = (n: number, except: readonly string[] = []): string[] =>
  Array.from({ length: 1 << n }, (_, i) => [...i.toString(2).padStart(n, "0")].join(",")).filter(
    (outcome) => !except.includes(outcome),
  );
/** SB with something between each store and load. */
const storeBuffering = (between: string): string[][] => [
  [store(X, 1), between, load(R.eax, Y)],
  [store(Y, 1), between, load(R.eax, X)],
];
const SB = { observe: ["0:rax", "1:rax"] as const, sc: ["0,1", "1,0", "1,1"] };

const TESTS: readonly Litmus[] = [
  { name: "SB (iwp 2.3.a)", programs: storeBuffering(""), ...SB, tso: ["0,0"] },
  { name: "SB with mfence (amd5)", programs: storeBuffering(mfence), ...SB, tso: [] },
  { name: "SB with lock addl on the stack", programs: storeBuffering(lockedStack), ...SB, tso: [] },
  { name: "SB with lfence only", programs: storeBuffering(lfence), ...SB, tso: ["0,0"] },
  { name: "SB with sfence only", programs: storeBuffering(sfence), ...SB, tso: ["0,0"] },
  {
    name: "SB with one mfence",
    programs: [
      [store(X, 1), mfence, load(R.eax, Y)],
      [store(Y, 1), load(R.eax, X)],
    ],
    ...SB,
    tso: ["0,0"],
  },
  {
    name: "SB with xchg stores (iwp 2.8.a)",
    programs: [
      [exchange(X, 1), load(R.ecx, Y)],
      [exchange(Y, 1), load(R.ecx, X)],
    ],
    observe: ["0:rcx", "1:rcx"],
    sc: ["0,1", "1,0", "1,1"],
    tso: [],
  },
  {
    name: "MP (iwp 2.1)",
    programs: [[store(X, 1), store(Y, 1)], loads(Y, X)],
    observe: ["1:rax", "1:rcx"],
    sc: ["0,0", "0,1", "1,1"],
    tso: [],
  },
  {
    name: "MP with locked stores (iwp 2.8.b)",
    programs: [[exchange(X, 1), exchange(Y, 1)], loads(Y, X)],
    observe: ["1:rax", "1:rcx"],
    sc: ["0,0", "0,1", "1,1"],
    tso: [],
  },
  {
    name: "LB (iwp 2.2)",
    programs: [
      [load(R.eax, X), store(Y, 1)],
      [load(R.eax, Y), store(X, 1)],
    ],
    observe: ["0:rax", "1:rax"],
    sc: ["0,0", "0,1", "1,0"],
    tso: [],
  },
  {
    name: "R",
    programs: [
      [store(X, 1), store(Y, 1)],
      [store(Y, 2), load(R.eax, X)],
    ],
    observe: ["y", "1:rax"],
    sc: ["1,0", "1,1", "2,1"],
    tso: ["2,0"],
  },
  {
    name: "R with mfence",
    programs: [
      [store(X, 1), store(Y, 1)],
      [store(Y, 2), mfence, load(R.eax, X)],
    ],
    observe: ["y", "1:rax"],
    sc: ["1,0", "1,1", "2,1"],
    tso: [],
  },
  {
    name: "S",
    programs: [
      [store(X, 2), store(Y, 1)],
      [load(R.eax, Y), store(X, 1)],
    ],
    observe: ["1:rax", "x"],
    sc: ["0,1", "0,2", "1,1"],
    tso: [],
  },
  {
    name: "2+2W",
    programs: [
      [store(X, 1), store(Y, 2)],
      [store(Y, 1), store(X, 2)],
    ],
    observe: ["x", "y"],
    sc: ["1,2", "2,1", "2,2"],
    tso: [],
  },
  {
    name: "IRIW (iwp 2.7, amd6)",
    programs: [[store(X, 1)], [store(Y, 1)], loads(X, Y), loads(Y, X)],
    observe: ["2:rax", "2:rcx", "3:rax", "3:rcx"],
    sc: all(4, ["1,0,1,0"]),
    tso: [],
  },
  {
    name: "IRIW with locked stores (iwp 2.8.a')",
    programs: [[exchange(X, 1)], [exchange(Y, 1)], loads(X, Y), loads(Y, X)],
    observe: ["2:rax", "2:rcx", "3:rax", "3:rcx"],
    sc: all(4, ["1,0,1,0"]),
    tso: [],
  },
  {
    name: "WRC (iwp 2.5)",
    programs: [[store(X, 1)], [load(R.eax, X), store(Y, 1)], loads(Y, X)],
    observe: ["1:rax", "2:rax", "2:rcx"],
    sc: all(3, ["1,1,0"]),
    tso: [],
  },
  {
    name: "store forwarding (iwp 2.4)",
    programs: [
      [store(X, 1), load(R.eax, X), load(R.ecx, Y)],
      [store(Y, 1), load(R.eax, Y), load(R.ecx, X)],
    ],
    observe: ["0:rax", "0:rcx", "1:rax", "1:rcx"],
    sc: ["1,0,1,1", "1,1,1,0", "1,1,1,1"],
    tso: ["1,0,1,0"],
  },
  {
    name: "n1 (x86-CC)",
    programs: [
      [store(X, 2), load(R.eax, Y)],
      [store(Y, 1), store(X, 1)],
    ],
    observe: ["0:rax", "x"],
    sc: ["0,1", "1,1", "1,2"],
    tso: ["0,2"],
  },
  {
    name: "n2: two writers, two readers of one place agree",
    programs: [[store(X, 1)], [store(X, 2)], loads(X, X), loads(X, X)],
    observe: ["2:rax", "2:rcx", "3:rax", "3:rcx"],
    sc: coherent(),
    tso: [],
  },
  {
    name: "n4",
    programs: [
      [load(R.eax, X), store(X, 1), load(R.ecx, X)],
      [load(R.eax, X), store(X, 2), load(R.ecx, X)],
    ],
    observe: ["0:rax", "0:rcx", "1:rax", "1:rcx"],
    // never 2,…,1,…: each reading the other's store before its own would need both stores to come first
    sc: ["0,1,0,1", "0,1,0,2", "0,1,1,2", "0,2,0,2", "0,2,1,2", "2,1,0,1", "2,1,0,2"],
    tso: [],
  },
  {
    name: "n5",
    programs: [
      [store(X, 1), load(R.eax, X)],
      [store(X, 2), load(R.eax, X)],
    ],
    observe: ["0:rax", "1:rax"],
    sc: ["1,1", "1,2", "2,2"],
    tso: [],
  },
  {
    name: "n6 (Paul Loewenstein's, which x86-CC forbade and processors show)",
    programs: [
      [store(X, 1), load(R.eax, X), load(R.ecx, Y)],
      [store(Y, 2), store(X, 2)],
    ],
    observe: ["0:rax", "0:rcx", "x"],
    sc: ["1,0,1", "1,0,2", "1,2,1", "1,2,2", "2,2,2"].filter((o) => o !== "1,0,1"),
    tso: ["1,0,1"],
  },
  {
    name: "n7",
    programs: [[store(X, 1), load(R.eax, X), load(R.ecx, Y)], [store(Y, 1)], loads(Y, X)],
    observe: ["0:rax", "0:rcx", "2:rax", "2:rcx"],
    sc: ["1,0,0,0", "1,0,0,1", "1,0,1,1", "1,1,0,0", "1,1,0,1", "1,1,1,0", "1,1,1,1"],
    tso: ["1,0,1,0"],
  },
  {
    name: "n8: n7 with the reader's fence",
    programs: [[store(X, 1), mfence, load(R.eax, X), load(R.ecx, Y)], [store(Y, 1)], loads(Y, X)],
    observe: ["0:rax", "0:rcx", "2:rax", "2:rcx"],
    sc: ["1,0,0,0", "1,0,0,1", "1,0,1,1", "1,1,0,0", "1,1,0,1", "1,1,1,0", "1,1,1,1"],
    tso: [],
  },
  {
    name: "n3: exchanges of one place form one order",
    programs: [[exchange(X, 1)], [exchange(X, 2)], [exchange(X, 3)]],
    observe: ["0:rax", "1:rax", "2:rax", "x"],
    sc: ["0,1,2,3", "0,3,1,2", "2,0,1,3", "3,0,2,1", "2,3,0,1", "3,1,0,2"],
    tso: [],
  },
  {
    name: "lock xadd twice loses nothing",
    programs: [[fetchAdd(R.eax, X, 1)], [fetchAdd(R.eax, X, 1)]],
    observe: ["0:rax", "1:rax", "x"],
    sc: ["0,1,2", "1,0,2"],
    tso: [],
  },
  {
    name: "incl without LOCK loses an increment",
    programs: [[increment(X)], [increment(X)]],
    observe: ["x"],
    sc: ["1", "2"],
    tso: [],
  },
  {
    name: "lock incl does not",
    programs: [[lockedIncrement(X)], [lockedIncrement(X)]],
    observe: ["x"],
    sc: ["2"],
    tso: [],
  },
  {
    name: "a locked instruction drains earlier stores (iwp 2.8.b)",
    programs: [
      [store(X, 1), exchange(Z, 1), load(R.ecx, Y)],
      [store(Y, 1), exchange(Z, 2), load(R.ecx, X)],
    ],
    observe: ["0:rcx", "1:rcx"],
    sc: ["0,1", "1,0", "1,1"],
    tso: [],
  },
  {
    name: "a byte store and the word around it: own byte, others' old byte",
    programs: [
      [store8(X, 1), load(R.eax, X)],
      [store8(X + 1, 1), load(R.eax, X)],
    ],
    observe: ["0:rax", "1:rax"],
    sc: ["1,101", "101,100", "101,101"],
    tso: ["1,100"],
  },
  {
    name: "newest byte wins in a load over several stores",
    programs: [[store(X, 0x11223344), store16(X + 1, 0xaabb), store8(X + 2, 0xcc), load(R.eax, X)], [load(R.eax, X)]],
    observe: ["0:rax", "1:rax"],
    sc: ["11ccbb44,0", "11ccbb44,11223344", "11ccbb44,11aabb44", "11ccbb44,11ccbb44"],
    tso: [],
  },
];

/** Readers of one place that two CPUs write once each: no reader sees values in an order that the other contradicts. */
function coherent(): string[] {
  const out = new Set<string>();
  for (const [a, b] of [
    [1, 2],
    [2, 1],
  ]) {
    const order = [0, a, b];
    for (let i = 0; i < 3; i++)
      for (let j = i; j < 3; j++)
        for (let k = 0; k < 3; k++)
          for (let l = k; l < 3; l++) out.add([order[i], order[j], order[k], order[l]].join(","));
  }
  return [...out];
}

test.each(TESTS)("$name", ({ programs, observe, sc, tso }) => {
  const set = (list: readonly string[]): string[] => [...new Set(list)].sort();
  expect(outcomes(programs, observe, "sc")).toEqual(set(sc));
  expect(outcomes(programs, observe, "tso")).toEqual(set([...sc, ...tso]));
});
