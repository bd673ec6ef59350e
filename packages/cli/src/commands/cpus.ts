// `cpus`: what each CPU was doing.
import type { Command } from "commander";
import { cpusText } from "../../../core/src/report/cpus-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, withDump } from "./common.ts";

interface CpusOptions extends GlobalOptions {
  readonly registers?: boolean;
}

export function registerCpus(program: Command): void {
  dumpCommand(program, "cpus", "", "what each CPU was doing: task, functions, interrupts, the lock it waits for")
    .option("--registers", "all registers, not only rip, rsp and rflags")
    .action((dump: string, _options: unknown, command: Command) => cpus(dump, command));
}

async function cpus(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<CpusOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.cpus();
    printResult(options, result, (r) => cpusText(r, options.registers ?? false, paint));
    return result.cpus.some((cpu) => cpu.source !== null) ? 0 : COULD_NOT;
  });
}
