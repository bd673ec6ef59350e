// What a lock function may also do: return without the lock, or stop at an instruction that the model does not know while
// others wait for it.
import { expect, test } from "vitest";
import { LOCK_ADDRESS } from "../machine/model-addresses.ts";
import { bytesOf, PieceMemory } from "../testing/code.ts";
import type { Entry } from "../types.ts";
import { prove } from "./prove.ts";
import { lockSystem } from "./scenario.ts";

const TEXT = 0xffffffff81000000n;
const CODE = bytesOf(`
31 c0 ba 01 00 00 00 f0 0f b1 17 0f 94 c0 0f b6 c0 c3 90 90 90 90 90 90 90 90 90 90 90 90 90 90 # trylock: cmpxchg, sete
c6 07 00 c3 90 90 90 90 90 90 90 90 90 90 90 90 # 0x20 unlock
f0 0f ba 2f 00 73 04 f3 90 eb f5 0f a2 c3 90 90 # 0x30 lock bts, or spin; then cpuid
31 c0 b2 01 0f b0 17 0f 94 c0 0f b6 c0 c3 90 90 # 0x40 trylock without the LOCK prefix
cc cc cc cc cc cc cc cc cc cc cc cc cc cc cc cc
`);

function run(lock: number, tries: boolean) {
  const entry = (at: number, more: Partial<Entry> = {}): Entry => ({
    address: TEXT + BigInt(at),
    registers: { rdi: LOCK_ADDRESS },
    ...more,
  });
  return prove(
    lockSystem({
      memory: new PieceMemory([{ address: TEXT, bytes: CODE }]),
      pairs: [{ lock: entry(lock, { tries }), unlock: entry(0x20) }],
      cpus: 2,
      rounds: 2,
      lock: { address: LOCK_ADDRESS, length: 4, initial: new Uint8Array(4) },
    }),
  );
}

test("a trylock that returns 0 does not hold the lock", () => {
  expect(run(0, true)).toMatchObject({ verdict: "safe", witness: undefined });
  expect(run(0, false).verdict).toBe("two-holders");
  expect(run(0x40, true).verdict).toBe("two-holders");
});

test("waiting for a CPU that stopped at an unknown instruction is no hang", () => {
  expect(run(0x30, false)).toMatchObject({
    verdict: "unsupported",
    reason: "0xffffffff8100003b: cpuid: instruction Cpuid is not supported",
  });
});
