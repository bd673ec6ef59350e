// A word that no queued spinlock holds: impossible where a variable is, unsure where only a register led there.
import { expect, test } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import { fakeKernel } from "../testing/fake-kernel.ts";
import { decodeQspinlock } from "../words/qspinlock.ts";
import { LockFacts } from "./lock-facts.ts";

const VARIABLE = 0xffffffff82000000n;
const ON_A_STACK = 0xffa0000000083e38n;
const WORD = Uint8Array.of(0x38, 0x3e, 0, 0);

function factAt(address: bigint) {
  const kernel = fakeKernel([], { some_lock: VARIABLE });
  const facts = new LockFacts({
    kernel: { ...kernel, allSymbols: kernel.symbols },
    waits: { cpus: [], tasks: [] },
    queues: { nodes: [], readable: new Set(), queueOf: () => [] },
  } as unknown as ConstructorParameters<typeof LockFacts>[0]);
  const lock = { address: virtualAddress(address), kind: "raw-spinlock", evidence: () => "rdi" } as const;
  return facts.fact(lock, "qspinlock", decodeQspinlock(WORD, 4));
}

test("a variable's word is told as impossible", () => {
  expect(factAt(VARIABLE)).toMatchObject({ state: "impossible", symbol: "some_lock" });
});

test("what only a register named is not: it may have held another pointer", () => {
  const fact = factAt(ON_A_STACK);
  expect(fact.state).toBe("unknown");
  expect(fact.meaning).toMatch(/^the locked byte is 56; .*; that this is the lock is not proved$/);
});
