// Which lock objects a mixed pair works on: the address in %rdi at the odd sites, followed back through their functions, and
// who else takes or releases these locks.
import {
  formatAddress,
  fromKernelOffset,
  type KernelOffset,
  toKernelOffset,
  type VirtualAddress,
  virtualAddress,
} from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { AffectedLock } from "../../results/types.ts";
import { getI32 } from "../../x86/encode.ts";
import { functionBytes } from "../code/function-bytes.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockSite } from "../code/lock-sites.ts";
import { callOperands } from "../code/operands.ts";
import { type AuditedObject, type Implementation, type LockFamily, type LockRole, takes } from "../types.ts";
import { unknownCpus } from "../waits/cpu-activity.ts";
import { openWaits } from "../waits/lock-waiters.ts";
import type { CpuWait } from "../waits/wait.ts";
import type { SpinlockWords } from "../words/spinlock-word.ts";
import { lostTickets, type TicketWord } from "../words/ticket.ts";
import type { LockWord } from "../words/types.ts";
import { nameAt, PLACES } from "./site-facts.ts";

/** Odd sites whose locks are followed, and locks that are told. */
const MAX_SITES = 64;
const MAX_LOCKS = 32;
const MAX_FUNCTIONS = 512;
const MAX_FUNCTION = 1 << 16;

/** _raw_spin_lock_irqsave, _spin_trylock_bh (up to 2.6.32) …: out-of-line operations, by role. */
const OUT_OF_LINE: readonly (readonly [RegExp, LockRole])[] = [
  [/^_(raw_)?spin_lock(_bh|_irq|_irqsave|_nested|_irqsave_nested|_nest_lock)?$/, "lock"],
  [/^_(raw_)?spin_trylock(_bh)?$/, "trylock"],
  [/^_(raw_)?spin_unlock(_bh|_irq|_irqrestore)?$/, "unlock"],
];

interface Operation {
  readonly at: KernelOffset;
  readonly role: LockRole;
  readonly implementation: Implementation;
  /** "_raw_spin_lock_irq" for a call of an out-of-line function */
  readonly through: string | undefined;
}

interface Around {
  readonly start: bigint;
  readonly bytes: Uint8Array;
}

export interface AffectedContext {
  readonly kernel: Kernel;
  readonly objects: readonly AuditedObject[];
  readonly sites: readonly LockSite[];
  readonly implementations: Implementations;
  readonly words: SpinlockWords;
  /** CPUs that wait for locks. */
  readonly waits: readonly CpuWait[];
  /** Two families of which one takes and the other releases. */
  conflict(taken: Implementation, released: Implementation): boolean;
}

/** The locks that `odd` sites work on and that a conflicting operation works on too. */
export function affectedLocks(context: AffectedContext, odd: readonly LockSite[]): AffectedLock[] {
  const { kernel } = context;
  const locks = new Set<bigint>();
  for (const site of odd.slice(0, MAX_SITES)) {
    const around = functionAround(kernel, site.at);
    const address = fromKernelOffset(site.at);
    const operand =
      around && callOperands(around.bytes, around.start, new Set([address])).find((each) => each.at === address);
    if (operand?.rdi !== undefined && toKernelOffset(operand.rdi) !== undefined) locks.add(operand.rdi);
    if (locks.size >= MAX_LOCKS) break;
  }
  if (locks.size === 0) return [];
  const names = new Set(odd.map((site) => site.object));
  const operations = operationsOn(context, locks, names);
  const out: AffectedLock[] = [];
  for (const [lock, found] of operations) {
    const takers = found.filter((each) => takes(each.role));
    const releasers = found.filter((each) => each.role === "unlock");
    const pairs = takers
      .flatMap((taken) => releasers.map((released) => ({ taken, released })))
      .filter(({ taken, released }) => context.conflict(taken.implementation, released.implementation));
    // Where each side conflicts with the other's, the one in which a CPU waits tells what went wrong.
    const waitsIn = functionsWaitedIn(context, lock);
    const pair = pairs.find(({ taken }) => waitsIn.has(taken.implementation.code)) ?? pairs[0];
    if (pair === undefined) continue;
    const { taken, released } = pair;
    // The odd releases first: they are what is wrong.
    const sorted = [...releasers].sort(
      (a, b) =>
        Number(b.implementation === released.implementation) - Number(a.implementation === released.implementation),
    );
    const fact = lockFact(context, lock, takers, sorted, taken.implementation, released.implementation);
    if (fact !== undefined) out.push(fact);
  }
  return out.sort((a, b) => Number(b.stuck) - Number(a.stuck));
}

/** Names of the functions that CPUs which wait for the lock are in. */
function functionsWaitedIn(context: AffectedContext, lock: bigint): Set<string> {
  const frames = context.waits.filter((wait) => wait.lock === lock).flatMap((wait) => wait.frames);
  return new Set(frames.map(({ place }) => place.symbol));
}

function functionAround(kernel: Kernel, at: KernelOffset): Around | undefined {
  const near = kernel.allSymbols.nearest(fromKernelOffset(at));
  if (near?.size === undefined) return undefined;
  const bytes = functionBytes(kernel, near.symbol.address, Math.min(near.size, MAX_FUNCTION));
  return bytes && { start: near.symbol.address, bytes };
}

/** All lock operations on the locks in the named objects' code. */
function operationsOn(
  context: AffectedContext,
  locks: ReadonlySet<bigint>,
  names: ReadonlySet<string>,
): Map<bigint, Operation[]> {
  const { kernel, implementations } = context;
  const out = new Map<bigint, Operation[]>([...locks].map((lock) => [lock, []]));
  const siteAt = new Map(context.sites.map((site) => [site.at, site]));
  const functions = outOfLine(kernel);
  for (const object of context.objects) {
    if (!names.has(object.name)) continue;
    for (const { start, bytes } of functionsNaming(kernel, object, locks)) {
      const from = toKernelOffset(start) ?? 0;
      const own = new Set<bigint>();
      for (const site of context.sites) {
        if (site.at >= from && site.at < from + bytes.length) own.add(fromKernelOffset(site.at));
      }
      for (const operand of callOperands(bytes, start, own)) {
        const list = operand.rdi === undefined ? undefined : out.get(operand.rdi);
        const at = toKernelOffset(operand.at);
        if (list === undefined || at === undefined) continue;
        const site = siteAt.get(at);
        if (site?.implementation !== undefined) {
          list.push({ at, role: site.slot.role, implementation: site.implementation, through: undefined });
          continue;
        }
        const called = operand.target === undefined ? undefined : functions.get(operand.target);
        if (called === undefined || operand.target === undefined) continue;
        const implementation = implementations.of(operand.target, called.role);
        list.push({ at, role: called.role, implementation, through: called.name });
      }
    }
  }
  return out;
}

/** Out-of-line lock functions of the core by address. */
function outOfLine(kernel: Kernel): Map<KernelOffset, { name: string; role: LockRole }> {
  const out = new Map<KernelOffset, { name: string; role: LockRole }>();
  const suffixes = ["", "_bh", "_irq", "_irqsave", "_irqrestore", "_nested", "_irqsave_nested", "_nest_lock"];
  for (const prefix of ["_raw_spin", "_spin"]) {
    for (const operation of ["lock", "trylock", "unlock"]) {
      for (const suffix of suffixes) {
        const name = `${prefix}_${operation}${suffix}`;
        const role = OUT_OF_LINE.find(([pattern]) => pattern.test(name))?.[1];
        const address = role === undefined ? undefined : kernel.find(name);
        const offset = address === undefined ? undefined : toKernelOffset(address);
        if (role !== undefined && offset !== undefined) out.set(offset, { name, role });
      }
    }
  }
  return out;
}

/** Functions of an object whose bytes hold the address of one of the locks, absolute or relative to themselves. */
function functionsNaming(kernel: Kernel, object: AuditedObject, locks: ReadonlySet<bigint>): Around[] {
  const offsets = new Set([...locks].map((lock) => toKernelOffset(lock) ?? -1));
  const starts = new Map<bigint, Around>();
  for (const [region, { bytes }] of object.found) {
    for (let i = 0; i + 4 <= bytes.length && starts.size < MAX_FUNCTIONS; i++) {
      const value = getI32(bytes, i);
      // Absolute addresses of the kernel's 2 GiB are negative as s32; relative ones count from the instruction's end.
      if (!(value < 0 && offsets.has(value + 2 ** 31)) && !offsets.has(region.start + i + 4 + value)) continue;
      const around = functionAround(kernel, region.start + i);
      if (around !== undefined) starts.set(around.start, around);
    }
  }
  return [...starts.values()];
}

function lockFact(
  context: AffectedContext,
  lock: bigint,
  takers: readonly Operation[],
  releasers: readonly Operation[],
  taken: Implementation,
  released: Implementation,
): AffectedLock | undefined {
  const { kernel, words } = context;
  const address = virtualAddress(lock);
  const waiting = context.waits.filter((wait) => wait.lock === lock);
  const describe = (each: Operation): string => {
    const how =
      each.through ?? (each.implementation.evidence === "inlined code" ? "inlined" : each.implementation.code);
    return `${nameAt(kernel, each.at)} (${how})`;
  };
  try {
    const family: LockFamily = taken.family === "unknown" ? words.family : taken.family;
    const word = words.decode(address, family);
    if (word === undefined) return undefined;
    return {
      name: nameAt(kernel, toKernelOffset(lock) ?? 0),
      address: formatAddress(lock),
      bytes: word.bytes,
      takenBy: taken.code === "inlined code" ? taken.name : taken.code,
      releasedBy: released.code === "inlined code" ? `inlined ${released.name} code` : released.code,
      meaning: word.meaning,
      fields: word.fields,
      ...stuck(context, address, word, family, released, waiting),
      waiting: waiting.map((wait) => ({
        cpu: wait.cpu,
        task: wait.task === undefined ? "" : `${wait.task.comm} (PID ${wait.task.pid})`,
        function: wait.frames[0]?.symbol ?? "",
        ...(wait.ticket === undefined ? {} : { ticket: wait.ticket }),
      })),
      takenAt: distinct(takers.map(describe)),
      releasedAt: distinct(releasers.map(describe)),
    };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

const distinct = (items: readonly string[]): string[] => [...new Set(items)].slice(0, PLACES);

/** Whether nobody can ever be granted the lock again; why it is not granted now. */
function stuck(
  context: AffectedContext,
  lock: VirtualAddress,
  word: LockWord,
  family: LockFamily,
  released: Implementation,
  waiting: readonly CpuWait[],
): { stuck: boolean; why?: string } {
  if (family === "ticket") {
    const { head, outstanding } = word as TicketWord;
    const open = unknownCpus(context.kernel) + openWaits(context.waits, lock);
    if (released.family === "ticket" || lostTickets(word as TicketWord, waiting.length, open) === 0)
      return { stuck: false };
    const have =
      waiting.length === 0 ? "no CPU waits" : `${waiting.length} CPU${waiting.length === 1 ? " waits" : "s wait"}`;
    return {
      stuck: true,
      why: `${outstanding} tickets are out but ${have}: the others were released by ${released.code}, which does not advance head ${head}`,
    };
  }
  // A sleeper whose wake-up was missed gets the lock when something wakes it: not stuck for ever.
  const sleeper = waiting.find((wait) => wait.asleep);
  const { fields } = word;
  if (sleeper === undefined || Number(fields.locked ?? fields.lock ?? 1) !== 0) return { stuck: false };
  return {
    stuck: false,
    why: `the lock is free, yet CPU ${sleeper.cpu} sleeps: it missed its wake-up, as ${released.code} wakes nobody; the next release that does ends its wait`,
  };
}
