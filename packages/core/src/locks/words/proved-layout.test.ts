// Sleeping locks of kernels that tell no layouts: built without SMP, with lock debugging, with and without waiters. The bytes
// are those of the C structures; what must come out is what the lock is.
import { expect, test } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import { fakeKernel, long, quad } from "../testing/fake-kernel.ts";
import { decodeMutex } from "./mutex.ts";
import { decodeRwsem } from "./rwsem.ts";
import { decodeSemaphore } from "./semaphore.ts";

const LOCK = 0xffffffff82000000n;
const SAMPLE = 0xffffffff82001000n;
const SMP = { __per_cpu_offset: 0xffffffff82002000n };
/** raw_spinlock_t of CONFIG_DEBUG_SPINLOCK: the lock, its magic, no CPU, nobody */
const DEBUG = `${long(0)} ad 4e ad de ${long(-1)} ${long(0)} ${quad((1n << 64n) - 1n)}`;
/** struct lockdep_map of 6.1: key, class cache, name, wait types */
const MAP = `${quad(0xffffffff83000000n)} ${quad(0n)} ${quad(0n)} ${quad(0xffffffff81f00000n)} ${quad(2n)}`;
const head = (at: number): string =>
  quad(LOCK + BigInt(at))
    .repeat(1)
    .concat(" ", quad(LOCK + BigInt(at)));
const pad = ` ${quad(0n)}`.repeat(20);

test.each([
  ["SMP", `${long(0)} ${long(1)} ${head(8)}`, SMP],
  ["UP: a spinlock takes no room", `${long(1)} ${long(0)} ${head(8)}`, {}],
  ["DEBUG_SPINLOCK", `${DEBUG} ${long(1)} ${long(0)} ${head(32)}`, SMP],
  ["DEBUG_SPINLOCK and lockdep", `${DEBUG} ${MAP} ${long(1)} ${long(0)} ${head(72)}`, SMP],
] as const)("a free semaphore, %s", (_, bytes, symbols) => {
  const kernel = fakeKernel([[LOCK, bytes + pad]], symbols);
  expect(decodeSemaphore(kernel, virtualAddress(LOCK))).toMatchObject({
    state: "free",
    fields: { count: 1 },
    problems: [],
  });
});

test.each([
  ["of 4.10 and newer, SMP", `${quad(0n)} ${quad(0n)} ${head(16)}`, { ...SMP, text_mutex: SAMPLE }, quad(0n), 16],
  ["of 4.10 and newer, UP", `${quad(0n)} ${head(8)}`, { text_mutex: SAMPLE }, quad(0n), 8],
  [
    "of 6.1 with debugging",
    `${quad(0n)} ${DEBUG} ${quad(0n)} ${head(40)}`,
    { ...SMP, text_mutex: SAMPLE },
    quad(0n),
    8,
  ],
  ["with a counter", `${long(1)} ${long(0)} ${head(8)}`, SMP, quad(1n), 8],
] as const)("a free mutex %s", (_, bytes, symbols, word, at) => {
  const before = `${word} ${quad(0n)} `.slice(0, at * 3);
  const sample = `${before}${quad(SAMPLE + BigInt(at))} ${quad(SAMPLE + BigInt(at))}`;
  const kernel = fakeKernel(
    [
      [LOCK, bytes + pad],
      [SAMPLE, sample + pad],
    ],
    symbols,
  );
  expect(decodeMutex(kernel, virtualAddress(LOCK))).toMatchObject({ state: "free", meaning: "free", problems: [] });
});

test.each([
  ["of 5.3 and newer, UP", `${quad(1n << 8n)} ${quad(0n)} ${head(16)}`, {}, "held for reading by 1 task"],
  ["of 5.3 and newer, SMP", `${quad(1n << 8n)} ${quad(0n)} ${quad(0n)} ${head(24)}`, SMP, "held for reading by 1 task"],
  ["up to 3.15, SMP", `${quad(1n)} ${quad(0n)} ${head(16)}`, SMP, "held by 1 reader"],
  ["of 6.1 with debugging", `${quad(0n)} ${quad(0n)} ${quad(0n)} ${DEBUG} ${head(48)}`, SMP, "free"],
  ["of 3.0 with debugging", `${quad(1n)} ${DEBUG} ${head(32)}`, SMP, "held by 1 reader"],
] as const)("an rw_semaphore %s", (_, bytes, symbols, meaning) => {
  const kernel = fakeKernel([[LOCK, bytes + pad]], symbols);
  expect(decodeRwsem(kernel, virtualAddress(LOCK))).toMatchObject({ meaning, problems: [] });
});

test("a mutex of which nothing proves how it is built is refused, not read by a guess", () => {
  const kernel = fakeKernel([[LOCK, `${quad(0n)} ${quad(0n)} ${pad}`]], SMP);
  expect(() => decodeMutex(kernel, virtualAddress(LOCK))).toThrow(/the layout of struct mutex/);
  const open = fakeKernel([[LOCK, `${quad(0n)} ${head(8)}${pad}`]], SMP);
  expect(() => decodeMutex(open, virtualAddress(LOCK))).toThrow(/no mutex tells whether it is counted/);
});
