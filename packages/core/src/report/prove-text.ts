// The text of `prove`: the verdict first, then the witness as a table of steps.
import type { ProveResult, ProveStep, ProveVerdict } from "../results/prove-results.ts";
import { foldedText, foldLaps } from "./fold-steps.ts";
import { bare, counted, grouped } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

const MEANING: Readonly<Record<ProveVerdict, string>> = {
  safe: "safe: in every order, one holder at a time, nobody stuck, the lock free at the end",
  hang: "hang: there is an order after which a CPU never gets on",
  "two-holders": "two holders: there is an order in which two CPUs are inside at once",
  "bad-end": "bad end: every CPU finishes, but not as it should",
  trap: "trap: the code runs into a BUG or an invalid instruction",
  "not-proven": "not proven",
  unsupported: "unsupported: the code leaves what the model can execute",
};

function stepLine(step: ProveStep): string {
  const where = step.symbol ?? bare(step.address);
  const lock =
    step.lockAfter === undefined || step.lockAfter === step.lockBefore ? "" : `${step.lockBefore} → ${step.lockAfter}`;
  const decoded = lock !== "" && step.lock !== undefined ? `  ${step.lock}` : "";
  const buffer =
    step.storeBuffer !== undefined && step.storeBuffer.length > 0 ? `  buffered: ${step.storeBuffer.join("; ")}` : "";
  return `  ${String(step.cpu).padStart(3)}  ${bare(step.address)}  ${where.padEnd(34)}  ${step.instruction.padEnd(34)}  ${lock}${decoded}${buffer}`.trimEnd();
}

/**
 * The whole text.
 * @param limit lines of the witness; 0 for all
 * @param full every lap of every loop, not only the last
 */
export function proveText(result: ProveResult, limit: number, paint: Paint, full = false): string {
  const { bounds, witness, verdict } = result;
  const color =
    verdict === "safe" ? paint.green : verdict === "not-proven" || verdict === "unsupported" ? paint.yellow : paint.red;
  const hit = bounds.hit === null ? "" : ` (bound ${bounds.hit})`;
  const lines = [
    ...headLines(result, paint),
    "",
    `lock    ${result.lock.symbol}  ${bare(result.lock.address)}  ${result.lock.implementation}`,
    `unlock  ${result.unlock.symbol}  ${bare(result.unlock.address)}  ${result.unlock.implementation}`,
  ];
  for (const assume of result.assume) lines.push(`assumed ${assume}`);
  lines.push("", color(`${MEANING[verdict]}${hit}`));
  if (result.reason !== null) lines.push(`  ${result.reason}`);
  lines.push(
    `  ${counted(bounds.cpus, "CPU")} × ${counted(bounds.rounds, "round")} under ${bounds.memory === "tso" ? "x86-TSO" : "sequential consistency"}: ` +
      `${grouped(result.states)} states, ${grouped(result.transitions)} transitions in ${result.seconds.toFixed(2)} s`,
  );
  for (const assumption of result.assumptions) lines.push(paint.dim(`  assumed: ${assumption}`));
  if (witness !== null) {
    lines.push(
      "",
      paint.bold(
        `witness: ${counted(witness.steps.length, "step")}, ${counted(witness.contextSwitches, "context switch", "context switches")}`,
      ),
    );
    lines.push(
      "  CPU  address           where                               instruction                         lock word",
    );
    const folded = full ? witness.steps.map((step) => ({ step })) : foldLaps(witness.steps);
    const shown = full || limit === 0 ? folded : folded.slice(-limit);
    if (shown.length < folded.length) {
      lines.push(
        paint.dim(`  … ${folded.length - shown.length} lines before; --limit 0 for all, --full for every lap`),
      );
    }
    for (const each of shown) {
      lines.push("step" in each ? stepLine(each.step) : paint.dim(`       ${foldedText(each)}; --full for all`));
    }
    for (const cpu of witness.end) {
      lines.push(paint.bold(`  CPU ${cpu.cpu} ${cpu.state} at ${cpu.symbol ?? bare(cpu.address)}`));
      for (const step of cpu.cycle ?? [])
        lines.push(`       ${bare(step.address)}  ${step.symbol ?? ""}  ${step.instruction}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
