// Ticket spinlocks (arch/x86/include/asm/spinlock.h, 2.6.25 to 4.1): lock takes tail++ and waits for head to be its
// ticket, unlock is head++. Below 256 CPUs both are a byte, from 256 on 16 bits.
import { hexBytes } from "../../x86/encode.ts";
import { CONTEXTS, type LockState, type LockWord } from "./types.ts";

export interface TicketLayout {
  /** bytes of head and of tail: 1 or 2 */
  readonly half: 1 | 2;
  /** What a ticket counts by: 2 with paravirt ticket locks (3.12 to 4.1), whose lowest bit is TICKET_SLOWPATH_FLAG. */
  readonly step: 1 | 2;
  /** bytes of the whole arch_spinlock_t, shown; head and tail where left out */
  readonly size?: number;
}

export interface TicketWord extends LockWord {
  readonly head: number;
  readonly tail: number;
  /** tickets given out and not yet released: one holder and its waiters */
  readonly outstanding: number;
}

/**
 * @param bytes the word in memory order, at least 2 × `half` bytes
 * @param cpus possible CPUs: more tickets than contexts of CPUs cannot be outstanding
 */
export function decodeTicket(bytes: Uint8Array, layout: TicketLayout, cpus: number): TicketWord {
  const { half, step } = layout;
  const word = bytes.subarray(0, 2 * half);
  const raw = (at: number): number => (half === 1 ? word[at] : word[2 * at] | (word[2 * at + 1] << 8));
  const mask = (half === 1 ? 0xff : 0xffff) & ~(step - 1);
  const head = raw(0) & mask;
  const tail = raw(1) & mask;
  const slow = step === 2 && ((raw(0) | raw(1)) & 1) !== 0;
  const outstanding = ((tail - head) & (half === 1 ? 0xff : 0xffff)) / step;
  const problems: string[] = [];
  let state: LockState = outstanding === 0 ? "free" : outstanding === 1 ? "held" : "contended";
  if (outstanding > cpus * CONTEXTS) {
    state = "impossible";
    problems.push(`${outstanding} tickets are outstanding, more than ${cpus} CPUs can have taken`);
  }
  const meaning =
    state === "impossible"
      ? `head ${head}, tail ${tail}: ${problems[0]}`
      : outstanding === 0
        ? `free: head and tail are both ${head}`
        : `ticket ${head} is being served, ${tail} is the next to give out: ${outstanding} ${
            outstanding === 1 ? "ticket is" : "tickets are"
          } out`;
  const fields: Record<string, number> = { head, tail };
  if (slow) fields.slowpath = 1;
  return {
    type: "ticket spinlock",
    state,
    bytes: hexBytes(bytes.subarray(0, layout.size ?? 2 * half)),
    fields,
    meaning,
    problems,
    head,
    tail,
    outstanding,
  };
}

/**
 * Tickets that nobody has: one of those that are out may be a holder's, all others belong to CPUs that wait with them.
 * @param waiting CPUs that wait for this lock
 * @param open CPUs of which it is not known whether they do
 */
export function lostTickets({ outstanding }: TicketWord, waiting: number, open: number): number {
  return Math.max(0, outstanding - 1 - waiting - open);
}

/** True when `ticket` has been given out and not been served yet. */
export function isOutstanding(word: TicketWord, layout: TicketLayout, ticket: number): boolean {
  const mask = layout.half === 1 ? 0xff : 0xffff;
  if (ticket < 0 || ticket > mask || ticket % layout.step !== 0) return false;
  return ((ticket - word.head) & mask) < word.outstanding * layout.step;
}
