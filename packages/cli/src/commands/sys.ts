// `sys`: the machine when the dump was taken, on one screen. crash's name for it.
import type { Command } from "commander";
import { sysText } from "../../../core/src/report/sys-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { dumpCommand, printResult, withDump } from "./common.ts";

export function registerSys(program: Command): void {
  dumpCommand(
    program,
    "sys",
    "",
    "the machine on one screen: date, uptime, load, tasks, taint, the log's alarms, who spins",
  ).action((dump: string, _options: unknown, command: Command) => sys(dump, command));
}

async function sys(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    printResult(options, await analysis.sys(), (result) => sysText(result, paint));
    return 0;
  });
}
