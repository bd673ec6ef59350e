// `locks`: lock words, holders, waiters, implementations.
import { type Command, Option } from "commander";
import { LOCK_FORMS, type LockForm } from "../../../core/src/locks/words/lock-forms.ts";
import { locksText } from "../../../core/src/report/locks-text.ts";
import type { LockFact } from "../../../core/src/results/lock-results.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, FOUND, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

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
  await withDump(dump, options, async ({ analysis, paint }) => {
    const cpu = options.cpu === undefined ? undefined : wholeNumber(options.cpu, 0);
    const result = await analysis.locks({ where, type: options.type, cpu });
    printResult(options, result, (r) => locksText(r, paint));
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    if (counted > 0) return FOUND;
    if (where !== undefined) return result.locks.some(unanswered) ? COULD_NOT : 0;
    return result.notChecked.length > 0 || analysis.kernel.dump.incomplete ? COULD_NOT : 0;
  });
}

/** Neither a type is known nor one that the bytes fit. */
const unanswered = (lock: LockFact): boolean => lock.state === "unknown" && (lock.fits ?? []).length === 0;
