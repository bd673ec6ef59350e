// `diagnose`: all checks, one report.
import type { Command } from "commander";
import { auditResult } from "../../audit/result.ts";
import { lockFindings } from "../../locks/lock-findings.ts";
import { auditText } from "../../report/audit-text.ts";
import { withBootSteps } from "../boot-steps.ts";
import { provePairs } from "../prove-pairs.ts";
import type { GlobalOptions } from "../terminal.ts";
import { TOOL } from "../version.ts";
import { auditOf } from "./audit-run.ts";
import { COULD_NOT, dumpCommand, FOUND, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

export function registerDiagnose(program: Command): void {
  dumpCommand(program, "diagnose", "", "all checks, one report: what differs from what was built, and why")
    .addOption(wholeNumberOption("--limit <n>", "findings to show (0: all)", "12"))
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
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async (context) => {
    const audit = await auditOf(context);
    const locks = schema === "palimpsest/diagnose/1" ? lockFindings(context.kernel, audit.objects) : [];
    const mixed = locks.find((finding) => finding.id === "lock.mixed");
    const proved = mixed === undefined ? undefined : provePairs(context.kernel, audit, mixed);
    const { core } = await context.session.images();
    const steps = withBootSteps([...locks, ...(proved?.findings ?? [])], core, audit.kaslrOffset);
    const more = steps.findings;
    const told = { ...audit, problems: [...audit.problems, ...(proved?.notes ?? []), ...steps.problems] };
    const result = auditResult(schema, TOOL, context.kernel, told, more);
    const limit = wholeNumber(options.limit, 12);
    printResult(options, result, (r) =>
      auditText(r, { limit, detailed: schema === "palimpsest/audit/1" }, context.paint),
    );
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    if (counted + result.findingsLeftOut > 0) return FOUND;
    // "Nothing found" is only said of a kernel that was looked at as a whole.
    return result.complete ? 0 : COULD_NOT;
  });
}
