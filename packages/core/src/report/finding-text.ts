// One finding as text: the one exhaustive switch over all kinds of findings.
import type { Finding, HangCause, Layers, SlotFact } from "../results/types.ts";
import { bare, counted } from "./format.ts";
import type { Paint } from "./paint.ts";

function layerLines(layers: Layers, paint: Paint): string[] {
  return [
    `    built     ${paint.dim(layers.built)}`,
    `    intended  ${layers.intended}`,
    `    found     ${paint.red(layers.found)}`,
  ];
}

function slotLine(slot: SlotFact | undefined): string[] {
  if (slot === undefined) return [];
  const at = slot.address === undefined ? "" : ` at ${bare(slot.address)}`;
  return [`    slot      ${slot.name}${at} = ${slot.value}`];
}

/** Who waits for whom, as a tree: the cause is the innermost. */
function chainLines({ chain, behind }: HangCause, paint: Paint): string[] {
  const lines = chain.flatMap((step, i) => [
    `    ${"  ".repeat(i)}${i === 0 ? "" : "└ "}${step.who} ${step.what}`,
    ...(step.at.length === 0 ? [] : [paint.dim(`    ${"  ".repeat(i + 1)}in ${step.at.join(" ← ")}`)]),
  ]);
  if (behind > 0) lines.push(`    and ${counted(behind, "more is", "more are")} blocked behind it`);
  return lines;
}

/** The finding in a few lines, its headline first. */
export function findingLines(finding: Finding, paint: Paint): string[] {
  const mark =
    finding.severity === "error"
      ? paint.red("error")
      : finding.severity === "warning"
        ? paint.yellow("warning")
        : "note";
  const head = `${mark}  ${paint.bold(finding.id)}  ${bare(finding.address)}  ${finding.title}`;
  const notes = finding.notes.map((note) => paint.dim(`    ${note}`));
  switch (finding.id) {
    case "text.foreign":
      return [head, ...layerLines(finding.site?.layers ?? finding.layers, paint), ...slotLine(finding.slot), ...notes];
    case "site.stale":
      return [head, ...layerLines(finding.layers, paint), ...slotLine(finding.slot), ...notes];
    case "unknown.table":
    case "unknown.mechanism":
    case "unknown.state":
    case "unknown.rule":
    case "unknown.smear":
      return [head, `    covers    ${counted(finding.length, "byte")}`, ...notes];
    case "lock.mixed":
      return [head, ...finding.notes.map((note) => `    ${note}`)];
    case "slot.late-write":
      return [head, ...slotLine(finding.slot), ...finding.notes.map((note) => `    ${note}`)];
    case "hang.lock-pair":
      return [
        head,
        ...finding.notes.map((note) => `    ${note}`),
        ...finding.witness.map((step) => paint.dim(`      ${step}`)),
      ];
    case "lock.impossible":
    case "hang.deadlock":
      return [head, ...finding.notes.map((note) => `    ${note}`)];
    case "hang.self-deadlock":
    case "hang.lost-unlock":
    case "hang.lost-wakeup":
    case "hang.dead-owner":
    case "hang.waiting-for-ipi":
    case "hang.work-flush":
    case "hang.rcu-stall":
    case "hang.soft-lockup":
    case "hang.hard-lockup":
    case "hang.hung-task":
    case "crash.panic":
    case "crash.oops":
      return [head, ...chainLines(finding, paint), ...finding.notes.map((note) => `    ${note}`)];
    default:
      return unreachable(finding);
  }
}

function unreachable(finding: never): never {
  throw new Error(`a finding without text: ${JSON.stringify(finding)}`);
}
