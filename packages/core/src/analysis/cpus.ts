// `cpus`: what each CPU was doing.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { cpuFacts } from "../locks/waits/cpu-facts.ts";
import type { CpusResult } from "../results/cpus-results.ts";

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
