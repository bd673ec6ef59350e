// One line of bytes per state of a lock word. The words of held and contended locks are those that Debian 6.1 and Linux 3.0
// kernels wrote (see the lab's module lock_states, and bug 838026).
import { expect, test } from "vitest";
import { decodeQspinlock, encodeTail } from "./qspinlock.ts";
import { decodeRwlock, type RwlockKind } from "./rwlock.ts";
import { decodeTicket, isOutstanding, lostTickets } from "./ticket.ts";
import type { LockState } from "./types.ts";
import { decodeXenByte } from "./xen-byte.ts";

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text.split(" "), (part) => Number.parseInt(part, 16));

test.each<[string, 1 | 2, 1 | 2, number, LockState, string]>([
  ["00 00 00 00", 1, 1, 2, "free", "free: head and tail are both 0"],
  ["1c 1c 00 00", 1, 1, 2, "free", "free: head and tail are both 28"],
  ["06 07 00 00", 1, 1, 2, "held", "ticket 6 is being served, 7 is the next to give out: 1 ticket is out"],
  ["00 04 00 00", 1, 1, 1, "contended", "ticket 0 is being served, 4 is the next to give out: 4 tickets are out"],
  ["00 05 00 00", 1, 1, 2, "contended", "ticket 0 is being served, 5 is the next to give out: 5 tickets are out"],
  ["ff 01 00 00", 1, 1, 2, "contended", "ticket 255 is being served, 1 is the next to give out: 2 tickets are out"],
  ["00 00 04 00", 2, 1, 2, "contended", "ticket 0 is being served, 4 is the next to give out: 4 tickets are out"],
  ["ff ff 01 00", 2, 1, 2, "contended", "ticket 65535 is being served, 1 is the next to give out: 2 tickets are out"],
  ["02 05 00 00", 1, 2, 2, "held", "ticket 2 is being served, 4 is the next to give out: 1 ticket is out"],
  // A byte lock's 1 in a ticket word: 255 tickets out.
  [
    "01 00 00 00",
    1,
    1,
    2,
    "impossible",
    "head 1, tail 0: 255 tickets are outstanding, more than 2 CPUs can have taken",
  ],
])("ticket %s with halves of %i, counted by %i, on %i CPUs", (text, half, step, cpus, state, meaning) => {
  const word = decodeTicket(bytesOf(text), { half, step, size: 4 }, cpus);
  expect([word.state, word.meaning, word.bytes]).toEqual([state, meaning, text]);
});

test("tickets that are out", () => {
  const layout = { half: 1, step: 1 } as const;
  const word = decodeTicket(Uint8Array.of(0xfe, 0x02), layout, 4);
  expect([0xfd, 0xfe, 0xff, 0, 1, 2].map((ticket) => isOutstanding(word, layout, ticket))).toEqual([
    ...[false, true, true, true, true, false],
  ]);
  expect([-1, 256].map((ticket) => isOutstanding(word, layout, ticket))).toEqual([false, false]);
});

test.each<[string, LockState, string]>([
  ["00 00 00 00", "free", "free"],
  ["01 00 00 00", "held", "held"],
  ["01 00 02 00", "contended", "held, 2 sleeping until it is released"],
  ["00 00 01 00", "contended", "free, 1 sleeping until it is released"],
  ["02 00 00 00", "impossible", "the byte is 2, which neither lock nor unlock ever writes"],
  // A ticket lock's word.
  ["00 04 00 00", "impossible", "the byte behind it is 4: padding that nothing writes"],
  ["01 00 ff ff", "impossible", "65535 spinners, more than 4 CPUs"],
])("Xen byte lock %s", (text, state, meaning) => {
  const word = decodeXenByte(bytesOf(text), 4);
  expect([word.state, word.meaning]).toEqual([state, meaning]);
});

test.each<[string, boolean | undefined, LockState, string]>([
  ["00 00 00 00", false, "free", "free"],
  ["01 00 00 00", false, "held", "held"],
  ["01 01 00 00", false, "contended", "held, one CPU waits with the pending bit"],
  [
    "01 01 10 00",
    false,
    "contended",
    "held, one CPU waits with the pending bit, the queue ends with CPU 3, MCS node 0",
  ],
  ["01 00 0d 00", false, "contended", "held, the queue ends with CPU 2, MCS node 1"],
  ["00 00 0c 00", false, "contended", "not held: it is being handed over, the queue ends with CPU 2, MCS node 0"],
  [
    "03 00 0c 00",
    true,
    "contended",
    "held, its first waiter sleeps and must be kicked, the queue ends with CPU 2, MCS node 0",
  ],
  [
    "03 00 00 00",
    false,
    "impossible",
    "the locked byte is 3 (_Q_SLOW_VAL), which only paravirt waiters write, and none runs here",
  ],
  ["02 00 00 00", undefined, "impossible", "the locked byte is 2"],
  ["01 05 00 00", undefined, "impossible", "the pending byte is 5"],
  ["01 00 ff 03", undefined, "impossible", "the tail 0x3ff names CPU 254, there are 5"],
  ["01 00 02 00", undefined, "impossible", "the tail 0x2 names CPU -1, there are 5"],
])("queued %s (paravirt %s)", (text, paravirt, state, meaning) => {
  const word = decodeQspinlock(bytesOf(text), 5, paravirt);
  expect([word.state, word.meaning]).toEqual([state, meaning]);
});

test("a tail names its CPU and node", () => {
  const tail = encodeTail(300, 2);
  const word = decodeQspinlock(Uint8Array.of(1, 0, tail & 0xff, tail >> 8), 512);
  expect([word.tailCpu, word.tailIndex]).toEqual([300, 2]);
});

test.each<[string, RwlockKind, LockState, string]>([
  ["00 00 00 00 00 00 00 00", "modern", "free", "free"],
  ["00 04 00 00 00 00 00 00", "modern", "held", "held by 2 readers"],
  ["ff 00 00 00 00 00 00 00", "modern", "held", "held by a writer"],
  [
    "00 03 00 00 01 01 00 00",
    "modern",
    "contended",
    "held by 1 reader, a writer waits, its wait_lock is taken: others queue",
  ],
  ["ff 02 00 00 00 00 00 00", "modern", "contended", "held by a writer, 1 readers try"],
  ["07 00 00 00 00 00 00 00", "modern", "impossible", "the writer byte is 7"],
  ["00 02 00 00 00 00 00 00", "early", "held", "held by 2 readers"],
  ["01 02 00 00 00 00 00 00", "early", "contended", "held by 2 readers, a writer waits"],
  ["00 00 00 01", "bias", "free", "free"],
  ["fe ff ff 00", "bias", "held", "held by 2 readers"],
  ["00 00 10 00", "bias", "free", "free"],
  ["00 00 00 00", "bias", "held", "held by a writer"],
  ["ff ff ff ff", "bias", "contended", "held by a writer, 1 readers try"],
  ["78 56 34 12", "bias", "impossible", "the counter 0x12345678 is near no state of the lock"],
])("rwlock %s (%s)", (text, kind, state, meaning) => {
  const word = decodeRwlock(bytesOf(text), kind, 4);
  expect([word.state, word.meaning]).toEqual([state, meaning]);
});

test.each([
  ["00 04", 3, 0, 0],
  ["00 04", 2, 0, 1],
  ["00 04", 0, 0, 3],
  ["00 04", 0, 2, 1],
  ["00 01", 0, 0, 0],
  ["07 07", 0, 0, 0],
  ["00 04", 0, Number.POSITIVE_INFINITY, 0],
])(
  "of the tickets of %s, with %i CPUs that wait and %d of which it is not known, %i are lost",
  (text, waiting, open, lost) => {
    const word = decodeTicket(bytesOf(text), { half: 1, step: 1 }, 4);
    expect(lostTickets(word, waiting, open)).toBe(lost);
  },
);

test("TICKET_SLOWPATH_FLAG of paravirt tickets says nothing about free or held, in the head or in the tail", () => {
  for (const text of ["02 03", "03 02", "02 02"])
    expect(decodeTicket(bytesOf(text), { half: 1, step: 2 }, 4)).toMatchObject({ state: "free", outstanding: 0 });
  expect(decodeTicket(bytesOf("02 05"), { half: 1, step: 2 }, 4)).toMatchObject({
    state: "held",
    fields: { slowpath: 1 },
  });
});
