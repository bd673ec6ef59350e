// `diagnose`: all checks, one report. `audit`: the account of every byte.
import { type Command, Option } from "commander";
import { PROVE_CHOICES, type ProveChoice } from "../../../core/src/analysis/prove-pairs.ts";
import { auditText } from "../../../core/src/report/audit-text.ts";
import { pairText } from "../../../core/src/report/pair-text.ts";
import type { AuditResult } from "../../../core/src/results/results.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, FOUND, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

interface DiagnoseOptions extends GlobalOptions {
  readonly prove?: ProveChoice;
}

export function registerDiagnose(program: Command): void {
  dumpCommand(program, "diagnose", "", "all checks, one report: what differs from what was built, and why")
    .addOption(wholeNumberOption("--limit <n>", "findings to show (0: all)", "12"))
    .addOption(
      new Option("--prove <pairs>", "run the lock code that the sites pair up in every order: which pairs")
        .choices(PROVE_CHOICES)
        .default("all"),
    )
    .action((dump: string, _options: unknown, command: Command) => diagnose(dump, command));
  dumpCommand(program, "audit", "", "the account of every byte, by object, mechanism and verdict")
    .addOption(wholeNumberOption("--limit <n>", "findings to show (0: all)", "0"))
    .action((dump: string, _options: unknown, command: Command) => audit(dump, command));
}

async function diagnose(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<DiagnoseOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.diagnose({ prove: options.prove });
    const limit = wholeNumber(options.limit, 12);
    printResult(
      options,
      result,
      (r) => auditText(r, { limit, detailed: false, triage: r.triage }, paint) + pairText(r.proofs, paint),
    );
    return statusOf(result);
  });
}

async function audit(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.audit();
    const limit = wholeNumber(options.limit, 12);
    printResult(options, result, (r) => auditText(r, { limit, detailed: true }, paint));
    return statusOf(result);
  });
}

/** "Nothing found" is only said of a kernel that was looked at as a whole. */
function statusOf(result: AuditResult): number {
  const counted = result.findings.filter((finding) => finding.severity !== "note").length;
  if (counted + result.findingsLeftOut > 0) return FOUND;
  return result.complete ? 0 : COULD_NOT;
}
