// `locks`: lock words, holders, waiters, implementations.
import { type Command, Option } from "commander";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import { addressAdd, type VirtualAddress } from "../../../core/src/bytes/brand.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { resolvePlace } from "../../../core/src/kernel/where.ts";
import { implementationFacts } from "../../../core/src/locks/code/implementation-facts.ts";
import { askedLock } from "../../../core/src/locks/find/asked-lock.ts";
import { surveyedLocks } from "../../../core/src/locks/find/lock-list.ts";
import { surveyLocks } from "../../../core/src/locks/findings/lock-survey.ts";
import { slotFact } from "../../../core/src/locks/findings/paravirt-facts.ts";
import { LockState } from "../../../core/src/locks/lock-state.ts";
import { LOCK_FORMS, type LockForm } from "../../../core/src/locks/words/lock-forms.ts";
import { locksText } from "../../../core/src/report/locks-text.ts";
import type { LockFact, LocksResult } from "../../../core/src/results/lock-results.ts";
import { PerCpu } from "../../../core/src/tasks/per-cpu.ts";
import { UsageError } from "../../../node/src/refusals.ts";
import type { GlobalOptions } from "../terminal.ts";
import { auditOf } from "./audit-run.ts";
import {
  COULD_NOT,
  type CommandContext,
  dumpCommand,
  FOUND,
  printResult,
  wholeNumber,
  wholeNumberOption,
  withDump,
} from "./common.ts";
import { tellOthers } from "./site.ts";

type LocksOptions = GlobalOptions & { readonly type?: "auto" | LockForm; readonly cpu?: string };

export function registerLocks(program: Command): void {
  dumpCommand(
    program,
    "locks",
    "[where]",
    "lock words, holders, waiters, implementations; of one lock with WHERE (an address, symbol, symbol+0x10 or module:symbol)",
  )
    .addOption(
      new Option("--type <type>", "what the lock at WHERE is, when nothing tells").choices(["auto", ...LOCK_FORMS]),
    )
    .addOption(wholeNumberOption("--cpu <n>", "whose copy of a per-CPU variable WHERE means"))
    .action((dump: string, where: string | undefined, _options: unknown, command: Command) =>
      locks(dump, where, command),
    );
}

async function locks(dump: string, where: string | undefined, command: Command): Promise<void> {
  const options = command.optsWithGlobals<LocksOptions>();
  await withDump(dump, options, async (context) => {
    if (where === undefined && options.type !== undefined) {
      throw new UsageError("--type says what the lock at WHERE is, and no WHERE was given");
    }
    const result = where === undefined ? await allLocks(context) : await oneLock(context, where, options);
    printResult(options, result, (r) => locksText(r, context.paint));
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    if (counted > 0) return FOUND;
    if (where !== undefined) return result.locks.some(unanswered) ? COULD_NOT : 0;
    return result.notChecked.length > 0 || context.kernel.dump.incomplete ? COULD_NOT : 0;
  });
}

/** Neither a type is known nor one that the bytes fit. */
const unanswered = (lock: LockFact): boolean => lock.state === "unknown" && (lock.fits ?? []).length === 0;

async function allLocks(context: CommandContext): Promise<LocksResult> {
  const { kernel } = context;
  const audit = await auditOf(context);
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
async function oneLock(context: CommandContext, where: string, options: LocksOptions): Promise<LocksResult> {
  const { kernel } = context;
  const address = placeOf(kernel, where, options.cpu);
  const chosen = options.type === "auto" ? undefined : options.type;
  const answer = askedLock(new LockState(kernel), address, chosen);
  const notes = [...kernel.problems, ...answer.notes];
  const plain = { ...head(kernel, where), implementations: [], slots: [], notChecked: [], ...answer, notes };
  const [lock] = answer.locks;
  if (lock.state !== "impossible" || !/spinlock|byte lock/.test(lock.type)) return plain;
  const audit = await auditOf(context);
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
function placeOf(kernel: Kernel, where: string, cpuText: string | undefined): VirtualAddress {
  const place = resolvePlace(kernel, where);
  tellOthers(place, where);
  const start = kernel.find("__per_cpu_start");
  const end = kernel.find("__per_cpu_end");
  const { address } = place;
  const isAddress = /^(0x[0-9a-f]+|[0-9a-f]{9,16})$/i.test(where);
  const isPerCpu = !isAddress && start !== undefined && end !== undefined && address >= start && address < end;
  if (!isPerCpu) {
    if (cpuText !== undefined) throw new UsageError(`${where} is no per-CPU variable: --cpu has no meaning for it`);
    return address;
  }
  if (cpuText === undefined) throw new UsageError(`${where} is a per-CPU variable: say with --cpu whose copy is meant`);
  const perCpu = new PerCpu(kernel);
  const cpu = wholeNumber(cpuText, 0);
  const offset = perCpu.offset(cpu);
  if (offset === undefined) throw new UsageError(`there is no CPU ${cpu}: ${perCpu.possible} are possible`);
  return addressAdd(address, offset);
}
