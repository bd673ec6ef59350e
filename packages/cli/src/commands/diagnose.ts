// `diagnose`: all checks, one report.
import { type Command, Option } from "commander";
import { withBootSteps } from "../../../core/src/analysis/boot-steps.ts";
import { PROVE_CHOICES, type ProveChoice, provePairs } from "../../../core/src/analysis/prove-pairs.ts";
import { auditResult } from "../../../core/src/audit/result.ts";
import { lockFindings } from "../../../core/src/locks/findings/lock-findings.ts";
import { auditText } from "../../../core/src/report/audit-text.ts";
import { pairText } from "../../../core/src/report/pair-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { TOOL } from "../version.ts";
import { auditOf } from "./audit-run.ts";
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
    .action((dump: string, _options: unknown, command: Command) => run(dump, command, "palimpsest/diagnose/1"));
  dumpCommand(program, "audit", "", "the account of every byte, by object, mechanism and verdict")
    .addOption(wholeNumberOption("--limit <n>", "findings to show (0: all)", "0"))
    .action((dump: string, _options: unknown, command: Command) => run(dump, command, "palimpsest/audit/1"));
}

async function run(
  dump: string,
  command: Command,
  schema: "palimpsest/diagnose/1" | "palimpsest/audit/1",
): Promise<void> {
  const options = command.optsWithGlobals<DiagnoseOptions>();
  await withDump(dump, options, async (context) => {
    const audit = await auditOf(context);
    const diagnosed = schema === "palimpsest/diagnose/1";
    const locks = diagnosed ? lockFindings(context.kernel, audit.objects) : [];
    const proved = provePairs(context.kernel, audit, diagnosed ? (options.prove ?? "all") : "none");
    const { core } = await context.session.images();
    const steps = withBootSteps([...locks, ...proved.findings], core, audit.kaslrOffset);
    const more = steps.findings;
    const told = { ...audit, problems: [...audit.problems, ...proved.notes, ...steps.problems] };
    const account = auditResult(schema, TOOL, context.kernel, told, more);
    const result = diagnosed ? { ...account, proofs: proved.proofs } : account;
    const limit = wholeNumber(options.limit, 12);
    printResult(
      options,
      result,
      (r) => auditText(r, { limit, detailed: !diagnosed }, context.paint) + pairText(proved.proofs, context.paint),
    );
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    if (counted + result.findingsLeftOut > 0) return FOUND;
    // "Nothing found" is only said of a kernel that was looked at as a whole.
    return result.complete ? 0 : COULD_NOT;
  });
}
