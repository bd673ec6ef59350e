// What one diagnosis said, reduced to a row; and the rows as the table of docs/matrix.md.
import type { Cost, Measured } from "./measure.ts";

export interface MatrixResult {
  readonly name: string;
  /** "pass", "fail" (the account does not hold), "error" (no diagnosis), "unavailable" (no kernel to be had). */
  readonly outcome: "pass" | "fail" | "error" | "unavailable";
  /** Why it is no pass: one line. */
  readonly reason: string;
  readonly release: string;
  /** What the boot chose against the errata that change code: see `mitigationsOf`. */
  readonly mitigations: string;
  readonly verdicts: Readonly<Record<string, number>>;
  readonly findings: number;
  readonly cost: Cost | undefined;
}

const verdictNames = ["built", "patched", "equivalent", "inFlight", "stale", "foreign", "absent"] as const;

/** The vulnerabilities whose mitigations rewrite code, with a short name each. */
const shown = {
  spectre_v2: "v2",
  retbleed: "retbleed",
  indirect_target_selection: "its",
  spec_rstack_overflow: "srso",
};

/**
 * The mitigations that a boot really chose, from its sysfs files: software emulation lacks some CPU features, and a boot
 * option that needs them is then ignored.
 */
export function mitigationsOf(vulnerabilities: Readonly<Record<string, string>>): string {
  return Object.entries(shown)
    .map(([file, name]) => [name, vulnerabilities[file]?.replace(/^Mitigation: /, "").split(";")[0] ?? "Not affected"])
    .filter(([, choice]) => choice !== "Not affected")
    .map(([name, choice]) => `${name}: ${choice}`)
    .join("; ");
}

/**
 * Judges what `diagnose --json` printed for one dump. It passes when the command found nothing: no stale and no
 * foreign byte, no finding at all, every object checked.
 */
export function judge(
  dump: { readonly name: string; readonly release: string; readonly mitigations: string },
  { exitCode, stdout, stderr, cost }: Measured,
): MatrixResult {
  const row = { ...dump, cost, verdicts: {}, findings: 0 };
  let report: unknown;
  try {
    report = JSON.parse(stdout);
  } catch {
    const complaint = stderr.trim().split("\n").at(-1) ?? "";
    return { ...row, outcome: "error", reason: `exit code ${exitCode}, no JSON: ${complaint}`.slice(0, 300) };
  }
  const schema = member(report, "schema");
  if (schema !== "palimpsest/diagnose/1") {
    return { ...row, outcome: "error", reason: `exit code ${exitCode}, schema ${JSON.stringify(schema)}` };
  }
  const given = member(member(report, "account"), "verdicts");
  const verdicts = Object.fromEntries(verdictNames.map((verdict) => [verdict, count(member(given, verdict))]));
  const findings = list(member(report, "findings"));
  const ids = [...new Set(findings.map((finding) => String(member(finding, "id"))))];
  const notChecked = list(member(report, "notChecked"));
  const reasons = [
    ...(verdicts.stale > 0 ? [`${verdicts.stale} stale bytes`] : []),
    ...(verdicts.foreign > 0 ? [`${verdicts.foreign} foreign bytes`] : []),
    ...(findings.length > 0 ? [`${findings.length} findings: ${ids.slice(0, 5).join(", ")}`] : []),
    ...(notChecked.length > 0 ? [`not checked: ${notChecked.slice(0, 2).map(text).join("; ")}`] : []),
    ...(verdicts.built + verdicts.patched === 0 ? ["no byte accounted for"] : []),
    ...(exitCode !== 0 ? [`exit code ${exitCode}`] : []),
  ];
  const filled = { ...row, verdicts, findings: findings.length };
  return { ...filled, outcome: reasons.length === 0 ? "pass" : "fail", reason: reasons.join("; ") };
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** "12 of 14 pass, 2 fail". */
export function totals(results: readonly MatrixResult[]): string {
  const number = (outcome: MatrixResult["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  const rest = (["fail", "error", "unavailable"] as const).filter((outcome) => number(outcome) > 0);
  return [
    `${number("pass")} of ${results.length} pass`,
    ...rest.map((outcome) => `${number(outcome)} ${outcome}`),
  ].join(", ");
}

/** The document: totals, then one line a dump. */
export function renderMatrix(results: readonly MatrixResult[]): string {
  const columns = ["dump", "kernel", "mitigations", ...verdictNames, "findings", "CPU s", "MB", "outcome"];
  const cells = (result: MatrixResult) => [
    result.name,
    result.release,
    result.mitigations,
    ...verdictNames.map((verdict) => (result.cost ? (result.verdicts[verdict] ?? 0).toLocaleString("en") : "")),
    result.cost ? String(result.findings) : "",
    result.cost?.cpuSeconds.toFixed(2) ?? "",
    result.cost?.peakMegabytes.toFixed(0) ?? "",
    result.outcome === "pass"
      ? "pass"
      : `**${result.outcome}** ${result.reason.replaceAll("|", "/").replaceAll("\n", " ")}`,
  ];
  const sums = verdictNames.map((verdict) => {
    const sum = results.reduce((total, { verdicts }) => total + (verdicts[verdict] ?? 0), 0);
    return `${verdict} ${sum.toLocaleString("en")}`;
  });
  const measured = results.flatMap(({ cost }) => (cost ? [cost] : []));
  const most = (pick: (cost: Cost) => number) => Math.max(0, ...measured.map(pick));
  return `# Matrix

Dumps of Debian kernels under QEMU, each diagnosed with \`palimpsest diagnose\`. Made by \`npm run lab -- matrix\`, which
always takes the newest package of each suite; columns \`built\` to \`absent\` count bytes of code by verdict. A dump
passes when nothing at all was found in it, since each of these kernels is healthy.

**${totals(results)}.** Bytes: ${sums.join(", ")}. At most ${most((c) => c.cpuSeconds).toFixed(2)} s of CPU and
${most((c) => c.peakMegabytes).toFixed(0)} MB for one dump.

| ${columns.join(" | ")} |
|${columns.map((_, index) => (index < 3 || index === columns.length - 1 ? "---" : "--:")).join("|")}|
${results.map((result) => `| ${cells(result).join(" | ")} |`).join("\n")}
`;
}
