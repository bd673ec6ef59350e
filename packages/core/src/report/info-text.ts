// The text of `info`.
import type { InfoResult } from "../results/results.ts";
import { bare, grouped, table } from "./format.ts";
import { generatedLines } from "./generated-text.ts";
import { headLines } from "./head-text.ts";
import { livepatchLines } from "./livepatch-text.ts";
import type { Paint } from "./paint.ts";
import { paravirtLines } from "./paravirt-text.ts";

/** The whole text. */
export function infoText(result: InfoResult, paint: Paint): string {
  const lines = [...headLines(result, paint), `  ${result.kernel.version}`, ""];
  const facts: [string, string][] = [
    ["command line", result.commandLine ?? "unknown"],
    ["page tables", `${result.pageTableLevels} levels, found by ${result.addressSpace}`],
    ["symbols", `${grouped(result.symbols)} in kallsyms`],
    ["layouts", result.types],
    ["CPU", `${result.cpu.vendor} ${result.cpu.model}`],
    ["CPUs online", result.onlineCpus.join(" ") || "unknown"],
    ...result.patching.map(({ name, value }): [string, string] => [name, value]),
  ];
  for (const [name, value] of facts) lines.push(`  ${name.padEnd(20)}  ${value}`);
  for (const evidence of result.evidence) lines.push(paint.dim(`  evidence: ${evidence}`));
  if (result.registers.length > 0) {
    lines.push("", paint.bold("CPUs"));
    for (const cpu of result.registers) {
      lines.push(`  ${String(cpu.cpu).padStart(3)}  rip ${bare(cpu.rip)} ${cpu.symbol}  rsp ${bare(cpu.rsp)}`);
    }
  }
  lines.push("", ...paravirtLines(result.paravirtualisation, paint));
  lines.push(...livepatchLines(result.livepatches, paint));
  lines.push(...generatedLines(result.generated, paint));
  lines.push("", paint.bold(`${result.modules.length} modules`));
  lines.push(
    ...table(
      result.modules.length === 0
        ? []
        : [
            ["name", "state", "text at", "text", "size", "build-id"],
            ...result.modules.map((module) => [
              module.name,
              module.state,
              bare(module.text),
              grouped(module.bytes),
              grouped(module.size),
              module.buildId ?? "none",
            ]),
          ],
    ),
  );
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n")}\n`;
}
