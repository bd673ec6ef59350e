// `log`: the kernel's log, as dmesg would have printed it.
import { type Command, InvalidArgumentError, Option } from "commander";
import { levelNumber, logText } from "../../../core/src/report/log-text.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, wholeNumber, wholeNumberOption, withDump } from "./common.ts";

interface LogOptions extends GlobalOptions {
  readonly last?: string;
  readonly level?: number;
  readonly decode?: boolean;
  readonly caller?: boolean;
}

export function registerLog(program: Command): void {
  dumpCommand(program, "log", "", "the kernel's log, as dmesg would have printed it")
    .addOption(wholeNumberOption("--last <n>", "only the newest n messages (0: all)", "0"))
    .addOption(
      new Option(
        "--level <level>",
        "only messages of this level and more urgent ones: 0 to 7, or emerg … debug",
      ).argParser((text: string) => {
        const level = levelNumber(text);
        if (level === undefined)
          throw new InvalidArgumentError("It takes 0 to 7, or emerg, alert, crit, err, warn, notice, info, debug.");
        return level;
      }),
    )
    .option("--decode", "facility and level in words in front, as dmesg -x has them")
    .option("--caller", "the task (T) or CPU (C) that wrote the message, where the kernel tells")
    .action((dump: string, _options: unknown, command: Command) => log(dump, command));
}

async function log(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<LogOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.log({ level: options.level, last: wholeNumber(options.last, 0) });
    const shown = { decode: options.decode ?? false, caller: options.caller ?? false };
    printResult(options, result, (r) => logText(r, shown, paint), true);
    if (!options.json) {
      for (const line of result.notes) note(`palimpsest: ${line}`);
      if (result.messages.length === 0) note("palimpsest: no messages");
    }
    return result.complete ? 0 : COULD_NOT;
  });
}
