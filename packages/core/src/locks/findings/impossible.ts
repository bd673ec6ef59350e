// lock.impossible: locks that hold what no history of their implementation's operations leaves. Locks of one type share one
// finding, since one cause makes many: a change of the implementation under words that the old one wrote.
import { toKernelOffset, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { LockFact } from "../../results/lock-results.ts";
import type { Finding, LockImpossible } from "../../results/types.ts";
import type { LockState } from "../lock-state.ts";
import type { LockForm } from "../words/lock-forms.ts";
import { deadlocks } from "./deadlock.ts";

/** Locks named in the notes; the finding's data has all. */
const NAMED = 8;
/** The two kinds of spinlock that one kernel can have. */
const OTHER: Readonly<Record<string, LockForm>> = {
  "ticket spinlock": "xen-byte",
  "Xen byte lock": "ticket",
  "byte lock": "ticket",
};

/** hang.deadlock, and lock.impossible for the locks that no other finding is about. */
export function lockStateFindings(state: LockState, locks: readonly LockFact[], others: readonly Finding[]): Finding[] {
  const told = new Set(
    others.flatMap((finding) => (finding.id === "lock.mixed" ? finding.locks.map((lock) => lock.address) : [])),
  );
  const byType = new Map<string, LockFact[]>();
  for (const lock of locks) {
    if (lock.state !== "impossible" || told.has(lock.address)) continue;
    const group = byType.get(lock.type);
    if (group === undefined) byType.set(lock.type, [lock]);
    else group.push(lock);
  }
  const impossible = [...byType.values()].map((group) => findingOf(state, group));
  return [...deadlocks(state.kernel, state.decoder, state.taskWaits), ...impossible];
}

function findingOf(state: LockState, group: readonly LockFact[]): LockImpossible {
  const sorted = [...group].sort((a, b) => b.waiters.length - a.waiters.length);
  const [first] = sorted;
  const nameOf = (lock: LockFact): string => (lock.symbol === "" ? lock.address : lock.symbol);
  const locks = sorted.map((lock) => ({
    name: nameOf(lock),
    address: lock.address,
    bytes: lock.bytes,
    meaning: lock.meaning,
    ...otherwise(state, lock),
  }));
  const address = virtualAddress(BigInt(first.address));
  const near = toKernelOffset(address) === undefined ? undefined : state.kernel.allSymbols.nearest(address);
  const fields = Object.entries(first.fields).map(([field, value]) => `${field} ${value}`);
  const rest = sorted.slice(1);
  const other = locks.filter((lock) => lock.otherwise !== undefined);
  const others = `${rest.length} more lock${rest.length === 1 ? "" : "s"}`;
  return {
    id: "lock.impossible",
    severity: "error",
    address: first.address,
    length: Math.ceil(first.bytes.length / 3),
    object: near?.symbol.module ?? "vmlinux",
    symbol: first.symbol,
    title: `${nameOf(first)}${rest.length === 0 ? " holds" : ` and ${others} hold`} what no ${first.type} ever holds`,
    notes: [
      `${nameOf(first)} holds ${first.bytes} (${fields.join(", ")}): ${first.meaning}.`,
      `That it is a ${first.type}: ${first.evidence}.`,
      ...(rest.length === 0 ? [] : [`The others: ${listed(rest.map((lock) => `${nameOf(lock)} ${lock.bytes}`))}.`]),
      ...(other.length === 0
        ? []
        : [
            `Another implementation can have left ${other.length === 1 ? "this" : `${other.length} of them`}: ${other[0].name} is, as a ${other[0].otherwise}.`,
          ]),
    ],
    type: first.type,
    locks,
  };
}

const listed = (items: readonly string[]): string =>
  items.length <= NAMED ? items.join(", ") : `${items.slice(0, NAMED).join(", ")} and ${items.length - NAMED} more`;

/** What the word says as the other kind of spinlock that this kernel has. */
function otherwise({ decoder }: LockState, lock: LockFact): { otherwise: string } | undefined {
  const form = Object.hasOwn(OTHER, lock.type) ? OTHER[lock.type] : undefined;
  if (form === undefined || decoder.unknownHere(form) !== undefined) return undefined;
  try {
    const word = decoder.decode(virtualAddress(BigInt(lock.address)), form);
    return word.state === "impossible" ? undefined : { otherwise: `${word.type}, ${word.meaning}` };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}
