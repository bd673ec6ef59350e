// `symbols`: look names and addresses up in the kernel's own tables.
import type { Command } from "commander";
import { symbolsText } from "../../../core/src/report/symbols-text.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

export function registerSymbols(program: Command): void {
  dumpCommand(
    program,
    "symbols",
    "[patterns...]",
    "look symbols up: a name, a pattern with * and ?, module:pattern, or an address",
  )
    .addOption(wholeNumberOption("--limit <n>", "matches to show (0: all)", "100"))
    .action((dump: string, patterns: string[], _options: unknown, command: Command) =>
      symbols(dump, patterns, command),
    );
}

async function symbols(dump: string, patterns: string[], command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis }) => {
    const result = await analysis.symbols(patterns, { limit: wholeNumber(options.limit, 100) });
    printResult(options, result, symbolsText);
    if (!options.json) {
      for (const { pattern, near } of result.unmatched) {
        const meant = near.length === 0 ? "" : `; did you mean ${near.join(", ")}?`;
        note(`palimpsest: no symbol matches ${pattern}${meant}`);
      }
    }
    return result.unmatched.length === 0 ? 0 : COULD_NOT;
  });
}
