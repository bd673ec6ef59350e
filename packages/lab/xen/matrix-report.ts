// The rows of docs/xen.md: what was foretold, what really happened, what the core says, and whether they agree.
import type { Diagnosed } from "./diagnose-run.ts";
import type { Prediction } from "./predict.ts";
import type { Outcome, XenFacts } from "./types.ts";

export interface XenRowResult {
  readonly name: string;
  readonly prediction: Prediction;
  /** Undefined when every try was lost to emulation. */
  readonly facts: XenFacts | undefined;
  readonly diagnosed: Diagnosed | undefined;
  /** Why there is no run: a kernel that cannot be had, or emulation. */
  readonly reason: string;
}

export type Agreement = "yes" | "no" | "not run" | "not foretold";

/** Findings without which a core of a guest that hung at such a lock does not count as explained. */
const EXPLAINS = /^(hang\.|lock\.mixed|site\.stale)/;

/** Whether prediction, outcome and diagnosis say one thing. */
export function agreement({ prediction, facts, diagnosed }: XenRowResult): Agreement {
  if (!facts || !diagnosed) return "not run";
  if (prediction.outcome === undefined) return "not foretold";
  if (prediction.outcome !== facts.result.outcome) return "no";
  return explained(facts.result.outcome, diagnosed, facts) ? "yes" : "no";
}

/** A hang has to be explained; a guest that booted and was left alone has to be clean. */
function explained(outcome: Outcome, diagnosed: Diagnosed, facts: XenFacts): boolean {
  if (diagnosed.trouble !== undefined) return false;
  if (outcome === "hung")
    return (
      diagnosed.findings.some((id) => id.startsWith("hang.")) && diagnosed.findings.some((id) => EXPLAINS.test(id))
    );
  if (facts.late) return !diagnosed.findings.some((id) => id.startsWith("hang."));
  return diagnosed.findings.length === 0 && diagnosed.complete;
}

/** The table, and rows that were not run below it. */
export function renderXenTable(results: readonly XenRowResult[], notRun: readonly string[]): string {
  const head = ["row", "foretold", "outcome", "diagnosis", "agree", "boot s", "dump s", "tries", "rip", "date"];
  const lines = results.map((result) => {
    const { name, prediction, facts, diagnosed, reason } = result;
    if (!facts || !diagnosed) return [name, prediction.outcome ?? "", reason, "", "not run", "", "", "", "", ""];
    const { result: end, tries, date } = facts;
    return [
      name,
      `${prediction.outcome ?? "?"}: ${prediction.by}`,
      `${end.outcome}: ${end.reason}`,
      diagnosed.trouble ?? (diagnosed.findings.join(", ") || "no finding"),
      agreement(result),
      String(end.bootSeconds),
      String(end.dumpSeconds),
      String(tries.length),
      diagnosed.ripsAgree === undefined ? "not told" : diagnosed.ripsAgree ? "same" : "differs",
      date,
    ];
  });
  const table = [head, head.map(() => "---"), ...lines].map((cells) => `| ${cells.map(escaped).join(" | ")} |`);
  const rest = notRun.length === 0 ? "" : `\nNot run: ${notRun.join(", ")}.\n`;
  return `${table.join("\n")}\n${rest}`;
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

const BEGIN = "<!-- rows: begin -->";
const END = "<!-- rows: end -->";

/** docs/xen.md with its table replaced. @throws Error when the document lost its marks */
export function replaceTable(document: string, table: string): string {
  const from = document.indexOf(BEGIN);
  const to = document.indexOf(END);
  if (from < 0 || to < from) throw new Error(`docs/xen.md: the marks ${BEGIN} and ${END} are gone`);
  return `${document.slice(0, from + BEGIN.length)}\n\n${table}\n${document.slice(to)}`;
}
