// What more than the account must hold on a kernel of the zoo: its log, what its CPUs do, and its locks. Guests of the
// zoo are idle and healthy when their memory is taken.
import type { CpusResult } from "../core/src/results/cpus-results.ts";
import type { LockFact, LocksResult } from "../core/src/results/lock-results.ts";
import type { LogResult } from "../core/src/results/log-results.ts";

/** A guest's boot says more lines than this. */
const FEWEST_MESSAGES = 40;

/** What is wrong with the log of a booted guest; empty when nothing is. */
export function judgeLog({ messages, complete }: Pick<LogResult, "messages" | "complete">, release: string): string[] {
  const has = (start: string) => messages.some(({ text }) => text.startsWith(start));
  return [
    ...(messages.length < FEWEST_MESSAGES ? [`log: ${messages.length} messages`] : []),
    ...(has(`Linux version ${release} `) ? [] : ["log: no banner"]),
    ...(has("Run /init as init process") ? [] : ["log: no start of init"]),
    ...(complete ? [] : ["log: not complete"]),
  ];
}

/** What is wrong with what `count` idle CPUs are said to do; empty when nothing is. */
export function judgeCpus({ cpus }: Pick<CpusResult, "cpus">, count: number): string[] {
  const trouble = cpus.length === count ? [] : [`cpus: ${cpus.length} instead of ${count}`];
  for (const { cpu, online, task, source, levels, waits } of cpus) {
    const about = `cpus: CPU ${cpu}`;
    if (online === false) trouble.push(`${about} is said to be offline`);
    if (task === null) trouble.push(`${about} has no task`);
    if (source === null) trouble.push(`${about} has no registers`);
    // Emulation stops a CPU anywhere, and another one then waits for it: no fault, if the lock is known.
    if (waits.some(({ lock }) => lock === null)) trouble.push(`${about} waits for a lock that is not known`);
    // Every idle task's stack begins there.
    const begins = levels.some(({ frames }) => frames.some(({ symbol }) => symbol.startsWith("cpu_startup_entry+")));
    if (task?.comm.startsWith("swapper") && !begins) {
      trouble.push(`${about} is idle with a stack that does not begin in cpu_startup_entry`);
    }
  }
  return trouble;
}

/** What is wrong with the locks of a guest that is idle; empty when nothing is. */
export function judgeLocks({
  locks,
  looked,
  findings,
  notChecked,
}: Pick<LocksResult, "locks" | "looked" | "findings" | "notChecked">): string[] {
  const spunFor = ({ type, waiters }: LockFact) =>
    type.includes("spinlock") && waiters.some(({ cpu }) => cpu !== undefined);
  const bad = locks.filter((lock) => lock.state === "impossible" || (lock.state === "contended" && !spunFor(lock)));
  return [
    ...(looked > 0 ? [] : ["locks: none was looked at"]),
    ...bad.slice(0, 3).map(({ symbol, address, type, state }) => `locks: ${type} ${symbol || address} is ${state}`),
    ...findings.slice(0, 3).map(({ id }) => `locks: ${id}`),
    ...notChecked.slice(0, 1).map(({ object, reason }) => `locks: ${object} not checked: ${reason}`),
  ];
}
