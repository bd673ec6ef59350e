// Which locks of a kernel are in a state worth telling: held, contended, impossible.
import { formatAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { LockFact } from "../../results/lock-results.ts";
import type { Finding } from "../../results/types.ts";
import { countingPadding } from "../code/lock-sites.ts";
import { lockStateFindings } from "../findings/impossible.ts";
import { LockFacts } from "../findings/lock-facts.ts";
import type { LockSurvey } from "../findings/lock-survey.ts";
import type { LockState } from "../lock-state.ts";
import { unknownCpus } from "../waits/cpu-activity.ts";
import { evidenceText } from "../waits/evidence-text.ts";
import { isProved } from "../waits/wait.ts";
import { awaitedLocks, type KnownLock, namedLocks, uniqueLocks } from "./known-locks.ts";

export interface LockAnswer {
  readonly locks: readonly LockFact[];
  readonly looked: number;
  readonly findings: readonly Finding[];
  /** CPUs that wait for a lock of which nothing proves which one it is, or which cannot be read */
  readonly untold: number;
  /** online CPUs whose registers the dump does not have; null when it has none, or nobody knows who is online */
  readonly withoutRegisters: number | null;
  readonly notes: readonly string[];
}

/** Everything that is proved to be a lock in this kernel. */
export function allKnown(state: LockState): KnownLock[] {
  const { kernel, perCpu } = state;
  const waits = { cpus: state.cpuWaits, tasks: state.taskWaits };
  const named = namedLocks(kernel, perCpu, countingPadding(kernel));
  return withoutInner(state, uniqueLocks([...named, ...awaitedLocks(waits)], state.words.isRtMutex));
}

/** On PREEMPT_RT an rw_semaphore has an rt_mutex inside, for which tasks wait: the same lock, not another. */
export function withoutInner(
  { kernel: { structures: s } }: Pick<LockState, "kernel">,
  locks: readonly KnownLock[],
): KnownLock[] {
  const inner = s.find("struct rw_semaphore", "rwbase.rtmutex") ?? s.find("struct rw_semaphore", "rtmutex");
  if (inner === undefined) return [...locks];
  const outer = new Set(locks.flatMap((lock) => (lock.kind === "rwsem" ? [lock.address + BigInt(inner.offset)] : [])));
  return locks.filter((lock) => lock.kind !== "rt-mutex" || !outer.has(lock.address));
}

export function factsOf(state: LockState): LockFacts {
  const { kernel, decoder, perCpu, queues } = state;
  return new LockFacts({ kernel, decoder, perCpu, queues, waits: { cpus: state.cpuWaits, tasks: state.taskWaits } });
}

/** Locks that are held, contended or impossible, and what is wrong with them. */
export function surveyedLocks(state: LockState, survey: LockSurvey): LockAnswer {
  const { locks, looked } = worthTelling(state, allKnown(state));
  const findings = [...survey.findings, ...lockStateFindings(state, locks, survey.findings)];
  return { locks, looked, findings, ...untoldOf(state, locks), notes: notesOf(state) };
}

/** The same of the locks alone that CPUs or tasks wait for: nothing has to be searched for these. */
export function awaitedFacts(state: LockState): readonly LockFact[] {
  const waits = { cpus: state.cpuWaits, tasks: state.taskWaits };
  return worthTelling(state, uniqueLocks(awaitedLocks(waits), state.words.isRtMutex)).locks;
}

function worthTelling(state: LockState, known: readonly KnownLock[]): Pick<LockAnswer, "locks" | "looked"> {
  const facts = factsOf(state);
  const awaited = new Set([...state.cpuWaits, ...state.taskWaits].map((wait) => wait.lock));
  const locks: LockFact[] = [];
  let looked = 0;
  for (const lock of known) {
    const form = facts.formOf(lock);
    const word = facts.wordOf(lock);
    if (form === undefined || word === undefined) continue;
    looked++;
    // Of hundreds of locks almost all are free.
    const isAwaited = awaited.has(lock.address);
    if ((word.state === "free" || facts.mayBeUninitialised(word, form)) && !isAwaited) continue;
    const fact = nameMmap(state, facts.fact(lock, form, word));
    if (fact.state !== "free" || fact.waiters.length > 0) locks.push(fact);
  }
  locks.sort((a, b) => rank(a) - rank(b) || (a.address < b.address ? -1 : 1));
  return { locks, looked };
}

const rank = (lock: LockFact): number => ["impossible", "contended", "held", "free", "unknown"].indexOf(lock.state);

/** The lock of an address space has no symbol: the task that it belongs to names it. */
export function nameMmap(state: LockState, lock: LockFact): LockFact {
  if (lock.symbol !== "" || !lock.type.startsWith("rw_semaphore")) return lock;
  const { structures: s } = state.kernel;
  const mm = s.find("struct task_struct", "mm");
  const inside = s.find("struct mm_struct", "mmap_lock") ?? s.find("struct mm_struct", "mmap_sem");
  if (mm === undefined || inside === undefined) return lock;
  const wanted = BigInt(lock.address) - BigInt(inside.offset);
  try {
    const task = state.tasks.tasks.find((each) => s.pointer(each.address, "struct task_struct", "mm") === wanted);
    if (task === undefined) return lock;
    const { comm, pid } = task;
    return { ...lock, symbol: `mmap_lock of ${comm} (PID ${pid})` };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return lock;
  }
}

/** What is not known about who waits. */
export function untoldOf(
  state: LockState,
  locks?: readonly LockFact[],
): Pick<LockAnswer, "untold" | "withoutRegisters"> {
  const listed = locks && new Set(locks.map(({ address }) => address));
  const untold = state.cpuWaits.filter(
    ({ lock, evidence }) =>
      lock === undefined || !isProved(evidence) || (listed !== undefined && !listed.has(formatAddress(lock))),
  );
  const unknown = unknownCpus(state.kernel);
  return { untold: untold.length, withoutRegisters: Number.isFinite(unknown) ? unknown : null };
}

export function notesOf(state: LockState): string[] {
  const notes = [...state.tasks.problems];
  const unknown = unknownCpus(state.kernel);
  if (state.kernel.dump.cpus.length === 0) notes.push("the dump has no CPU registers: CPUs that wait are not known");
  else if (unknown > 0) notes.push("the dump has not the registers of every CPU: more CPUs may wait");
  for (const wait of state.cpuWaits) {
    const where = `CPU ${wait.cpu} waits in ${wait.frames[0]?.symbol ?? "a lock function"}`;
    if (wait.lock === undefined) notes.push(`${where}; nothing tells for which lock`);
    else if (!isProved(wait.evidence))
      notes.push(`${where}; nothing proves for which lock: ${formatAddress(wait.lock)} is ${evidenceText(wait)}`);
    else if (state.kernel.memory.tryRead(wait.lock, 4) === undefined)
      notes.push(`${where} for the lock at ${formatAddress(wait.lock)}, which is not in the dump`);
  }
  return notes;
}
