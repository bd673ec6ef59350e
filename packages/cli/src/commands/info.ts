// `info`: kernel, machine, hypervisor, CPUs, modules, formats.
import type { Command } from "commander";
import { infoText } from "../../../core/src/report/info-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { dumpCommand, printResult, withDump } from "./common.ts";

export function registerInfo(program: Command): void {
  dumpCommand(program, "info", "", "kernel, machine, hypervisor, CPUs, modules, formats").action(
    (dump: string, _options: unknown, command: Command) => info(dump, command),
  );
}

async function info(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    printResult(options, await analysis.info(), (result) => infoText(result, paint));
    return 0;
  });
}
