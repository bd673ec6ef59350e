// `locks`: lock words, holders, waiters, implementations.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { addressAdd, type VirtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { resolvePlace } from "../kernel/where.ts";
import { implementationFacts } from "../locks/code/implementation-facts.ts";
import { askedLock } from "../locks/find/asked-lock.ts";
import { surveyedLocks } from "../locks/find/lock-list.ts";
import { surveyLocks } from "../locks/findings/lock-survey.ts";
import { slotFact } from "../locks/findings/paravirt-facts.ts";
import { LockState } from "../locks/lock-state.ts";
import type { LockForm } from "../locks/words/lock-forms.ts";
import type { LocksResult } from "../results/lock-results.ts";
import { PerCpu } from "../tasks/per-cpu.ts";
import type { Parts } from "./parts.ts";
import { UsageError } from "./refusals.ts";

export interface LocksOptions {
  /** one lock: its place */
  readonly where?: string;
  /** what the lock at `where` is, when nothing tells */
  readonly type?: "auto" | LockForm;
  /** whose copy of a per-CPU variable `where` means */
  readonly cpu?: number;
}

/** @throws UsageError for options that have no meaning for the place */
export async function locksOf(parts: Parts, options: LocksOptions): Promise<LocksResult> {
  const { where, type } = options;
  if (where !== undefined) return oneLock(parts, where, options);
  if (type !== undefined) throw new UsageError("--type says what the lock at WHERE is, and no WHERE was given");
  return allLocks(parts);
}

async function allLocks(parts: Parts): Promise<LocksResult> {
  const { kernel } = parts;
  const audit = await parts.audit();
  const survey = surveyLocks(kernel, audit.objects);
  const answer = surveyedLocks(survey.state, survey);
  return {
    ...head(kernel, null),
    implementations: implementationFacts(survey),
    slots: survey.slots.map(slotFact),
    ...answer,
    notChecked: audit.notChecked,
    notes: [...kernel.problems, ...answer.notes],
  };
}

/** Only what is wrong with a spinlock is a question of the code that takes and releases it, which takes an audit. */
async function oneLock(parts: Parts, where: string, options: LocksOptions): Promise<LocksResult> {
  const { kernel } = parts;
  const address = placeOf(parts, where, options.cpu);
  const chosen = options.type === "auto" ? undefined : options.type;
  const answer = askedLock(new LockState(kernel), address, chosen);
  const notes = [...kernel.problems, ...answer.notes];
  const plain = { ...head(kernel, where), implementations: [], slots: [], notChecked: [], ...answer, notes };
  const [lock] = answer.locks;
  if (lock.state !== "impossible" || !/spinlock|byte lock/.test(lock.type)) return plain;
  const audit = await parts.audit();
  const survey = surveyLocks(kernel, audit.objects);
  const explained = survey.findings.some(
    (finding) => finding.id === "lock.mixed" && finding.locks.some((each) => each.address === lock.address),
  );
  return {
    ...plain,
    implementations: implementationFacts(survey),
    slots: survey.slots.map(slotFact),
    findings: explained ? survey.findings : answer.findings,
    notChecked: audit.notChecked,
  };
}

function head(kernel: Kernel, asked: string | null): Pick<LocksResult, "schema" | "dump" | "kernel" | "asked"> {
  return { schema: "palimpsest/locks/1", dump: dumpFacts(kernel), kernel: kernelFacts(kernel), asked };
}

/** The address, and of a per-CPU variable that of one CPU's copy. */
function placeOf(parts: Parts, where: string, cpu: number | undefined): VirtualAddress {
  const { kernel } = parts;
  const place = resolvePlace(kernel, where);
  parts.tellOthers(place, where);
  const start = kernel.find("__per_cpu_start");
  const end = kernel.find("__per_cpu_end");
  const { address } = place;
  const isAddress = /^(0x[0-9a-f]+|[0-9a-f]{9,16})$/i.test(where);
  const isPerCpu = !isAddress && start !== undefined && end !== undefined && address >= start && address < end;
  if (!isPerCpu) {
    if (cpu !== undefined) throw new UsageError(`${where} is no per-CPU variable: --cpu has no meaning for it`);
    return address;
  }
  if (cpu === undefined) throw new UsageError(`${where} is a per-CPU variable: say with --cpu whose copy is meant`);
  const perCpu = new PerCpu(kernel);
  const offset = perCpu.offset(cpu);
  if (offset === undefined) throw new UsageError(`there is no CPU ${cpu}: ${perCpu.possible} are possible`);
  return addressAdd(address, offset);
}
