// `cpus`: what each CPU was doing.
import type { Command } from "commander";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { cpuFacts } from "../../../core/src/locks/waits/cpu-facts.ts";
import { cpusText } from "../../../core/src/report/cpus-text.ts";
import type { CpusResult } from "../../../core/src/results/cpus-results.ts";
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
  await withDump(dump, options, ({ kernel, paint }) => {
    const result = cpusOf(kernel);
    printResult(options, result, (r) => cpusText(r, options.registers ?? false, paint));
    return result.cpus.some((cpu) => cpu.source !== null) ? 0 : COULD_NOT;
  });
}

export function cpusOf(kernel: Kernel): CpusResult {
  const cpus = cpuFacts(kernel);
  const without = cpus.filter((cpu) => cpu.online === true && cpu.source === null);
  const notes =
    without.length === 0
      ? []
      : [`the dump has no registers of CPU ${without.map(({ cpu }) => cpu).join(", ")}, which the kernel has online`];
  return {
    schema: "palimpsest/cpus/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    cpus,
    notes: [...notes, ...kernel.problems],
  };
}
