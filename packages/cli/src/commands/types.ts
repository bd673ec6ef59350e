// `types`: how the structures of this kernel are laid out, and where that is known from.
import type { Command } from "commander";
import { typesText } from "../../../core/src/report/types-text.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

export function registerTypes(program: Command): void {
  dumpCommand(
    program,
    "types",
    "<names...>",
    'layouts of C types: "struct module", module, task_struct.thread, an enum; with * and ? lists names',
  )
    .addOption(wholeNumberOption("--limit <n>", "names of a pattern to show (0: all)", "100"))
    .action((dump: string, names: string[], _options: unknown, command: Command) => types(dump, names, command));
}

async function types(dump: string, names: string[], command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.types(names, { limit: wholeNumber(options.limit, 100) });
    printResult(options, result, (r) => typesText(r, paint));
    if (result.types.length + result.names.length > 0) return 0;
    note(`palimpsest: no type matches ${names.join(" ")}`);
    return COULD_NOT;
  });
}
