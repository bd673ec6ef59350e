// Whether a function has a lock where it stands, by its own code: straight, behind a branch, in a loop, after a try, and
// after it was released.
import { expect, test } from "vitest";
import { virtualAddress } from "../bytes/brand.ts";
import { fakeKernel, long } from "../locks/testing/fake-kernel.ts";
import type { Frame } from "../tasks/backtrace.ts";
import { HeldLocks } from "./held-locks.ts";

const TEXT = 0xffffffff81000000n;
const SYMBOLS = {
  _text: TEXT,
  asked: TEXT + 0x1000n,
  _raw_spin_lock: TEXT + 0x2000n,
  _raw_spin_unlock: TEXT + 0x2100n,
  _raw_spin_trylock: TEXT + 0x2200n,
  mutex_lock: TEXT + 0x2300n,
  other: TEXT + 0x3000n,
  other_end: TEXT + 0x3400n,
  a: TEXT + 0x10000n,
  b: TEXT + 0x10040n,
  end: TEXT + 0x10080n,
};
type Word = "lock" | "unlock" | "try" | "other" | "ret" | "here" | `jz ${number}` | `jmp ${number}` | "inline";
/** With a star the operand is what %rax holds, which nobody knows. */
type Pointer = "*lock" | "*unlock" | "*try" | "*mutex";
type Asm = readonly [Word, "a" | "b"] | Word | Pointer;

/** Each word is 12 bytes: mov $lock, %rdi and a call of it, or what the word says, with NOPs. @returns also where "here" stands */
function assemble(words: readonly Asm[], start: bigint = SYMBOLS.asked): { bytes: string; here: bigint } {
  let here = 0n;
  const bytes = words.map((each, i) => {
    const [word, lock] = typeof each === "string" ? [each, "a" as const] : each;
    const at = start + BigInt(i * 12);
    const pointer = word.startsWith("*");
    const load = pointer ? "48 89 c7 0f 1f 40 00" : `48 c7 c7 ${long(Number(BigInt.asIntN(32, SYMBOLS[lock])))}`;
    const call = (target: bigint): string => `e8 ${long(Number(target - (at + 12n)))}`;
    if (word === "ret") return "c3 90 90 90 90 90 90 90 90 90 90 90";
    if (word === "inline") return `${load} c6 07 00 90 90`;
    const jump = /^(jz|jmp) (\d+)$/.exec(word);
    if (jump !== null) {
      const distance = ((Number(jump[2]) - i) * 12 - 2) & 0xff;
      return `${jump[1] === "jz" ? "74" : "eb"} ${distance.toString(16)} 90 90 90 90 90 90 90 90 90 90`;
    }
    if (word === "here") here = at + 12n;
    const target = {
      lock: SYMBOLS._raw_spin_lock,
      unlock: SYMBOLS._raw_spin_unlock,
      try: SYMBOLS._raw_spin_trylock,
      mutex: SYMBOLS.mutex_lock,
    }[(pointer ? word.slice(1) : word) as "lock"];
    return `${load} ${call(target ?? SYMBOLS.other)}`;
  });
  return { bytes: bytes.join(" "), here };
}

test.each<[string, readonly Asm[], string]>([
  ["taken before", ["lock", "here", "unlock", "ret"], "yes"],
  ["not taken", ["here", "lock", "unlock", "ret"], "no"],
  ["released before", ["lock", "unlock", "here", "ret"], "no"],
  ["released inline before", ["lock", "inline", "here", "ret"], "no"],
  ["another lock", [["lock", "b"], "here", ["unlock", "b"], "ret"], "no"],
  ["on one of two paths", ["jz 2", "lock", "here", "ret"], "maybe"],
  ["on both paths", ["jz 3", "lock", "jmp 4", "lock", "here", "ret"], "yes"],
  ["after a try, which may have failed", ["try", "here", "ret"], "maybe"],
  ["in a loop that releases", ["lock", "unlock", "jz 0", "here", "ret"], "no"],
  ["behind a loop", ["lock", "other", "jz 1", "here", "unlock", "ret"], "yes"],
])("%s: %j is %s", (_name, words, expected) => {
  const { bytes, here } = assemble(words);
  const kernel = fakeKernel(
    [[SYMBOLS.asked, `${bytes} ${Array.from({ length: 0x1000 }, () => "cc").join(" ")}`]],
    SYMBOLS,
  );
  const frame = { address: virtualAddress(here), start: virtualAddress(SYMBOLS.asked) } as Frame;
  expect(new HeldLocks(kernel).of(frame, virtualAddress(SYMBOLS.a))).toBe(expected);
});

test("a call that has not returned has not taken the lock", () => {
  const { bytes } = assemble(["lock", "lock", "ret"]);
  const kernel = fakeKernel(
    [[SYMBOLS.asked, `${bytes} ${Array.from({ length: 0x1000 }, () => "cc").join(" ")}`]],
    SYMBOLS,
  );
  const at = (calls: bigint): string =>
    new HeldLocks(kernel).of(
      { address: virtualAddress(SYMBOLS.asked + calls * 12n), start: virtualAddress(SYMBOLS.asked) } as Frame,
      virtualAddress(SYMBOLS.a),
    );
  expect([at(1n), at(2n)]).toEqual(["no", "yes"]);
});

/** Whether the function may have a lock that its code does not name, with a callee at `other` of these words. */
function unknownWith(words: readonly Asm[], callee: readonly Asm[] = ["ret"], deep = true): boolean {
  const { bytes, here } = assemble(words);
  const pad = Array.from({ length: 0x1000 }, () => "cc").join(" ");
  const kernel = fakeKernel(
    [
      [SYMBOLS.asked, `${bytes} ${pad}`],
      [SYMBOLS.other, `${assemble(callee, SYMBOLS.other).bytes} ${pad}`],
    ],
    SYMBOLS,
  );
  const frame = { address: virtualAddress(here), start: virtualAddress(SYMBOLS.asked) } as Frame;
  return new HeldLocks(kernel).hasUnknown(frame, deep);
}

test.each<[string, readonly Asm[], readonly Asm[], boolean, boolean]>([
  ["a lock of a pointer", ["*lock", "here", "*unlock", "ret"], ["ret"], true, true],
  ["one that was released", ["*lock", "*unlock", "here", "ret"], ["ret"], true, false],
  ["one that is tried", ["*try", "here", "ret"], ["ret"], true, true],
  ["one with a name, which of() tells", ["lock", "here", "unlock", "ret"], ["ret"], true, false],
  ["a mutex of a pointer, which no CPU spins for", ["*mutex", "here", "ret"], ["ret"], true, false],
  ["a callee that comes back with one", ["other", "here", "ret"], ["*lock", "ret"], true, true],
  ["a callee that comes back with one of a name", ["other", "here", "ret"], ["lock", "ret"], true, true],
  ["the same, not looked into", ["other", "here", "ret"], ["*lock", "ret"], false, false],
  ["a callee that releases what it took", ["other", "here", "ret"], ["*lock", "*unlock", "ret"], true, false],
  ["the callee under way", ["here", "other", "ret"], ["*lock", "ret"], true, false],
])("%s: %j may have it unseen, calling %j (looked into: %s): %s", (_name, words, callee, deep, expected) => {
  expect(unknownWith(words, callee, deep)).toBe(expected);
});

test("a callee that releases the lock for its caller makes it no sure holder", () => {
  const held = (callee: readonly Asm[]): string => {
    const { bytes, here } = assemble(["lock", "other", "here", "unlock", "ret"]);
    const pad = Array.from({ length: 0x1000 }, () => "cc").join(" ");
    const kernel = fakeKernel(
      [
        [SYMBOLS.asked, `${bytes} ${pad}`],
        [SYMBOLS.other, `${assemble(callee, SYMBOLS.other).bytes} ${pad}`],
      ],
      SYMBOLS,
    );
    const frame = { address: virtualAddress(here), start: virtualAddress(SYMBOLS.asked) } as Frame;
    return new HeldLocks(kernel).of(frame, virtualAddress(SYMBOLS.a));
  };
  expect([held(["ret"]), held(["unlock", "ret"]), held(["*unlock", "ret"]), held(["lock", "unlock", "ret"])]).toEqual([
    "yes",
    "maybe",
    "maybe",
    "yes",
  ]);
});
