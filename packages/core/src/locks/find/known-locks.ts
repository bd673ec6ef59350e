// All locks of which something proves that they are locks, and of which kind: code that takes them, types of variables, CPUs
// and tasks that wait for them. A word of which nothing is proved is not listed.
import { fromKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { calledLocks } from "../code/called-locks.ts";
import { type LockKind, OUTER_FIRST } from "../code/lock-kinds.ts";
import { nameAt } from "../findings/site-facts.ts";
import { evidenceText } from "../waits/evidence-text.ts";
import { type CpuWait, isProved, type TaskWait } from "../waits/wait.ts";
import { formOfFamily, type LockForm } from "../words/lock-forms.ts";
import { typedLocks } from "./typed-locks.ts";

export interface KnownLock {
  readonly address: VirtualAddress;
  readonly kind: LockKind;
  /** where it is known better than by the kind: a CPU waits in the function of one implementation */
  readonly form?: LockForm;
  /** Only a register or a stack that held its address tells of it. */
  readonly guess?: boolean;
  /** a name that no symbol has: "runqueues.__lock of CPU 2" */
  readonly name?: string;
  /** What proves the kind, in words. */
  readonly evidence: () => string;
}

export interface Waits {
  readonly cpus: readonly CpuWait[];
  readonly tasks: readonly TaskWait[];
}

/** Locks that CPUs or tasks wait for. */
export function awaitedLocks(waits: Waits): KnownLock[] {
  const out: KnownLock[] = waits.tasks.map((wait) => ({
    address: wait.lock,
    kind: wait.kind,
    evidence: () => evidenceText(wait),
  }));
  for (const wait of waits.cpus) {
    if (wait.lock === undefined) continue;
    out.push({
      address: wait.lock,
      kind: wait.kind,
      form: wait.kind === "raw-spinlock" ? formOfFamily(wait.family) : undefined,
      ...(isProved(wait.evidence) ? {} : { guess: true }),
      evidence: () =>
        `CPU ${wait.cpu} waits for it in ${wait.frames[0]?.symbol ?? "a lock function"} (${evidenceText(wait)})`,
    });
  }
  return out;
}

/** Locks that the types of variables and the kernel's own code name. */
export function namedLocks(kernel: Kernel, perCpu: PerCpu, padding: number): KnownLock[] {
  const out: KnownLock[] = typedLocks(kernel, perCpu).map(({ address, kind, name, typeName }) => ({
    address,
    kind,
    name,
    evidence: () => `${kernel.types.origin}: the per-CPU variable is a ${typeName}`,
  }));
  for (const [offset, calls] of calledLocks(kernel, padding)) {
    for (const { kind, through, at } of calls) {
      const evidence = (): string => `${through} is called with its address at ${nameAt(kernel, at)}`;
      out.push({ address: fromKernelOffset(offset), kind, evidence });
    }
  }
  return out;
}

/**
 * One lock an address: of several kinds the outermost, of several proofs the first. Where a structure begins with the
 * spinlock that guards it, the spinlock is a lock of its own only when a CPU waits for it.
 * @param rt PREEMPT_RT: a spinlock_t is an rt_mutex; elsewhere it is its raw_spinlock_t
 */
export function uniqueLocks(locks: readonly KnownLock[], rt: boolean): KnownLock[] {
  const spinning = new Map<bigint, KnownLock>();
  const sleeping = new Map<bigint, KnownLock>();
  const rank = (lock: KnownLock): number => OUTER_FIRST.indexOf(lock.kind);
  for (const each of locks) {
    const lock: KnownLock = !rt && each.kind === "spinlock" ? { ...each, kind: "raw-spinlock" } : each;
    const known = lock.kind === "raw-spinlock" ? spinning : sleeping;
    const before = known.get(lock.address);
    // A proof comes before any guess, then the outer kind.
    const guessed = (of: KnownLock): boolean => of.guess ?? false;
    const better =
      before === undefined || (guessed(lock) === guessed(before) ? rank(lock) < rank(before) : guessed(before));
    const first = better ? lock : before;
    const formOf = (of: KnownLock | undefined): LockForm | undefined => (of?.guess ? undefined : of?.form);
    known.set(lock.address, {
      ...first,
      name: first.name ?? before?.name,
      form: first.form ?? formOf(before) ?? formOf(lock),
    });
  }
  const inner = [...spinning.values()].filter((lock) => lock.form !== undefined || !sleeping.has(lock.address));
  return [...sleeping.values(), ...inner];
}
