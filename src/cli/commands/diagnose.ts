// `diagnose`: all checks, one report.
import type { Command } from "commander";
import { auditDump, type DumpAudit } from "../../audit/audit.ts";
import { auditResult } from "../../audit/result.ts";
import { auditText } from "../../report/audit-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { TOOL } from "../version.ts";
import { type CommandContext, dumpCommand, FOUND, printResult, wholeNumber, withDump } from "./common.ts";

export function registerDiagnose(program: Command): void {
  dumpCommand(program, "diagnose", "", "all checks, one report: what differs from what was built, and why")
    .option("--limit <n>", "findings to show (0: all)", "12")
    .action((dump: string, _options: unknown, command: Command) => run(dump, command, "palimpsest/diagnose/1"));
  dumpCommand(program, "audit", "", "the account of every byte, by object, mechanism and verdict")
    .option("--limit <n>", "findings to show (0: all)", "0")
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
    const result = auditResult(schema, TOOL, context.kernel, audit);
    const limit = wholeNumber(options.limit, 12);
    printResult(options, result, (r) =>
      auditText(r, { limit, detailed: schema === "palimpsest/audit/1" }, context.paint),
    );
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    if (result.account.bytes === 0 && result.notChecked.length > 0 && counted === 0) return 2;
    return counted + result.findingsLeftOut > 0 ? FOUND : 0;
  });
}

/** Audits everything, with progress. */
export async function auditOf({ session, kernel, options, progress }: CommandContext): Promise<DumpAudit> {
  const images = await session.images();
  const audit = auditDump(kernel, images, {
    force: options.force,
    onObject: (name, index, count) => progress.update(0.3 + (0.7 * index) / count, name),
  });
  progress.end();
  return audit;
}
