// `site`: the layers of one place, annotated. `dis`: what is in memory, patched parts marked.
import type { Command } from "commander";
import { disassembleText, siteText } from "../../../core/src/report/site-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, FOUND, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

const WHERE = "an address, symbol, symbol+0x10 or module:symbol";

export function registerSite(program: Command): void {
  dumpCommand(program, "site", "<where>", `the layers of one place, annotated (${WHERE})`).action(
    (dump: string, where: string, _options: unknown, command: Command) => site(dump, where, command),
  );
  dumpCommand(program, "dis", "<where>", `disassembly of what is in memory, patched parts marked (${WHERE})`)
    .addOption(
      wholeNumberOption("--bytes <n>", "bytes to disassemble (default: to the end of the function, at most 4096)"),
    )
    .action((dump: string, where: string, _options: unknown, command: Command) => dis(dump, where, command));
}

async function site(dump: string, where: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.site(where);
    printResult(options, result, (r) => siteText(r, paint));
    if (result.findings.length > 0) return FOUND;
    return result.notChecked.length > 0 ? COULD_NOT : 0;
  });
}

async function dis(dump: string, where: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions & { bytes?: string }>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const bytes = options.bytes === undefined ? undefined : wholeNumber(options.bytes, 0);
    printResult(options, await analysis.disassemble(where, { bytes }), (r) => disassembleText(r, paint));
    return 0;
  });
}
