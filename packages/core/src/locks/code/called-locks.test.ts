// Code that takes locks by name: what counts as a proof that a variable is a lock, and what does not.
import { expect, test } from "vitest";
import { fakeKernel, long } from "../testing/fake-kernel.ts";
import { calledLocks } from "./called-locks.ts";

const BASE = 0xffffffff81000000n;
const DATA = BASE + 0x10000n;
const SYMBOLS = {
  _text: BASE,
  user: BASE + 0x10n,
  mutex_lock: BASE + 0x400n,
  mutex_unlock: BASE + 0x410n,
  _raw_spin_lock: BASE + 0x420n,
  _etext: BASE + 0x1000n,
  _sdata: DATA,
  __init_begin: DATA + 0x800n,
  __init_end: DATA + 0x900n,
  _end: DATA + 0x1000n,
};

const load = (address: bigint): string => `48 c7 c7 ${long(Number(BigInt.asIntN(32, address)))}`;

/** Bytes, and the target and opcode of the call behind them. */
type Part = readonly [string, bigint?, string?];

/** The locks that code at `user` names. */
function locksIn(...parts: readonly Part[]): string[] {
  let text = "";
  const size = (): number => text.split(" ").filter((part) => part !== "").length;
  for (const [bytes, target, opcode = "e8"] of parts) {
    text += `${bytes} `;
    if (target !== undefined) text += `${opcode} ${long(Number(target - (SYMBOLS.user + BigInt(size()) + 5n)))} `;
  }
  const kernel = fakeKernel([[SYMBOLS.user, `${text} c3`]], SYMBOLS);
  return [...calledLocks(kernel)].map(
    ([at, calls]) => `+${(at - 0x1010000).toString(16)} ${calls.map((each) => `${each.kind} ${each.through}`)}`,
  );
}

const { mutex_lock: LOCK, mutex_unlock: UNLOCK, _raw_spin_lock: SPIN } = SYMBOLS;

test.each<[string, readonly Part[], string[]]>([
  ["a load and a call", [[load(DATA + 0x20n), LOCK]], ["+20 mutex mutex_lock"]],
  ["a tail call", [[load(DATA + 0x20n), UNLOCK, "e9"]], ["+20 mutex mutex_unlock"]],
  [
    "lea disp32(%rip), %rdi",
    [[`48 8d 3d ${long(Number(DATA + 0x20n - SYMBOLS.user - 7n))}`, LOCK]],
    ["+20 mutex mutex_lock"],
  ],
  ["instructions between that leave %rdi alone", [[`${load(DATA + 8n)} 31 f6 89 c3`, LOCK]], ["+8 mutex mutex_lock"]],
  ["%rdi changed on the way", [[`${load(DATA + 8n)} 48 ff c7 90`, LOCK]], []],
  [
    "a call between, which changes %rdi",
    [
      [load(DATA + 8n), BASE + 0x800n],
      ["90", LOCK],
    ],
    [],
  ],
  ["a text address", [[load(BASE + 0x40n), LOCK]], []],
  ["init memory, which is freed", [[load(DATA + 0x880n), LOCK]], []],
  ["an address that no lock has", [[load(DATA + 0x21n), LOCK]], []],
  [
    "one address, two kinds: a lock at the start of its structure",
    [
      [load(DATA + 0x20n), LOCK],
      [load(DATA + 0x20n), SPIN],
      [load(DATA + 0x20n), UNLOCK],
    ],
    ["+20 mutex mutex_lock,raw-spinlock _raw_spin_lock"],
  ],
])("%s", (_name, code, expected) => {
  expect(locksIn(...code)).toEqual(expected);
});

test("nothing without lock functions", () => {
  expect([...calledLocks(fakeKernel([]))]).toEqual([]);
});
