// `read`: what is in memory at a place, as bytes or as a structure.
import { type Command, Option } from "commander";
import { MOST_READ } from "../../../core/src/analysis/read.ts";
import { UsageError } from "../../../core/src/analysis/refusals.ts";
import { readText } from "../../../core/src/report/read-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, withDump } from "./common.ts";

interface ReadOptions extends GlobalOptions {
  readonly type?: string;
  readonly physical?: boolean;
}

export function registerRead(program: Command): void {
  dumpCommand(
    program,
    "read",
    "<where> [length]",
    "memory at a place (an address, symbol, symbol+0x10 or module:symbol), as bytes or as a structure",
  )
    .addOption(new Option("--type <name>", 'show it as this type: "struct module", task_struct.thread, u64'))
    .option("--physical", "WHERE is a physical address")
    .action((dump: string, where: string, length: string | undefined, _options: unknown, command: Command) =>
      read(dump, where, length, command),
    );
}

async function read(dump: string, where: string, length: string | undefined, command: Command): Promise<void> {
  const options = command.optsWithGlobals<ReadOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.read(where, {
      length: length === undefined ? undefined : lengthOf(length),
      type: options.type,
      physical: options.physical,
    });
    printResult(options, result, (r) => readText(r, paint));
    const gone =
      result.type === null ? result.absent.length > 0 : result.type.members.some(({ value }) => value === null);
    return gone ? COULD_NOT : 0;
  });
}

function lengthOf(text: string): number {
  const length = /^(\d{1,12}|0x[0-9a-f]{1,10})$/i.test(text) ? Number(text) : 0;
  if (length < 1 || length > MOST_READ)
    throw new UsageError(
      `"${text}" is no length: 1 to ${MOST_READ} bytes, decimal or 0x…`,
      "palimpsest read DUMP WHERE 0x100",
    );
  return length;
}
