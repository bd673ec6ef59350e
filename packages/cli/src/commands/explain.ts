// `explain`: what a finding means, how it is decided, what to do.
import type { Command } from "commander";
import { UsageError } from "../../../core/src/analysis/refusals.ts";
import { explanationDocument, explanationList, explanationText } from "../../../core/src/report/explain-text.ts";
import { EXPLANATIONS, WORDS } from "../../../core/src/report/explanations.ts";
import { jsonText } from "../../../core/src/report/visible.ts";
import type { ExplainResult } from "../../../core/src/results/explain-results.ts";
import { type GlobalOptions, paintFor, print } from "../terminal.ts";

export function registerExplain(program: Command): void {
  program
    .command("explain [id]")
    .description("what a finding means, how it is decided, what to do (without ID: the list of findings and words)")
    .summary("what a finding means, how it is decided, what to do")
    .option("--json", "print it as JSON")
    .option("--markdown", "all of it as one document (docs/findings.md)")
    .action((id: string | undefined, _options: unknown, command: Command) => explain(id, command));
}

function explain(id: string | undefined, command: Command): void {
  const options = command.optsWithGlobals<GlobalOptions & { readonly markdown?: boolean }>();
  const known = Object.keys(EXPLANATIONS);
  if (id !== undefined && !known.includes(id))
    throw new UsageError(`no finding is called "${id}"`, `palimpsest explain lists them: ${known.join(", ")}`);
  if (options.markdown) print(explanationDocument());
  else if (options.json) {
    const findings = Object.fromEntries(
      Object.entries(EXPLANATIONS).filter(([each]) => id === undefined || each === id),
    );
    const result: ExplainResult = { schema: "palimpsest/explain/1", findings, words: WORDS };
    print(`${jsonText(result)}\n`);
  } else {
    const paint = paintFor(options.color);
    print((id === undefined ? undefined : explanationText(id, paint)) ?? explanationList(paint));
  }
}
