// `log`: the kernel's log, as dmesg would have printed it.
import { type Command, InvalidArgumentError, Option } from "commander";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import { formatAddress } from "../../../core/src/bytes/brand.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { type LogRecord, readKernelLog } from "../../../core/src/kernel/log/log.ts";
import { levelNumber, logText } from "../../../core/src/report/log-text.ts";
import type { LogLine, LogResult } from "../../../core/src/results/log-results.ts";
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
  await withDump(dump, options, ({ kernel, paint }) => {
    const result = logOf(kernel, { level: options.level, last: wholeNumber(options.last, 0) });
    printResult(options, result, (r) =>
      logText(r, { decode: options.decode ?? false, caller: options.caller ?? false }, paint),
    );
    if (!options.json) {
      for (const line of result.notes) note(`palimpsest: ${line}`);
      if (result.messages.length === 0) note("palimpsest: no messages");
    }
    return result.complete ? 0 : COULD_NOT;
  });
}

/** @param chosen least urgent level, and how many of the newest; 0 for all */
export function logOf(kernel: Kernel, chosen: { readonly level?: number; readonly last?: number } = {}): LogResult {
  const read = readKernelLog(kernel);
  const { level, last = 0 } = chosen;
  const wanted = level === undefined ? read.records : read.records.filter((each) => (each.level ?? 0) <= level);
  const shown = last === 0 ? wanted : wanted.slice(-last);
  return {
    schema: "palimpsest/log/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    buffer: { kind: read.kind, address: formatAddress(read.address), bytes: read.size },
    messages: shown.map(lineOf),
    leftOut: read.records.length - shown.length,
    complete: read.complete,
    notes: [...read.problems, ...kernel.problems],
  };
}

function lineOf({ sequence, nanoseconds, level, facility, caller, text, continues, ...more }: LogRecord): LogLine {
  return {
    sequence: sequence === undefined ? null : Number(sequence),
    time: nanoseconds === undefined ? null : seconds(nanoseconds),
    level: level ?? null,
    facility: facility ?? null,
    caller: caller === undefined ? null : caller >= 0x80000000 ? `C${caller - 0x80000000}` : `T${caller}`,
    text,
    continues,
    ...more,
  };
}

function seconds(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${(nanoseconds % 1_000_000_000n).toString().padStart(9, "0")}`;
}
