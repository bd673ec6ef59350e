// What one diagnosis said, reduced to a row; and the rows as the table of docs/matrix.md.
import type { Cost, Measured } from "./measure.ts";

export interface MatrixResult {
  readonly name: string;
  /** "pass", "fail" (the account does not hold), "error" (no diagnosis), "unavailable" (no kernel to be had). */
  readonly outcome: "pass" | "fail" | "error" | "unavailable";
  /** Why it is no pass: one line. */
  readonly reason: string;
  readonly release: string;
  /** CPUs, their model and boot options: "4 CPUs, max, mitigations=off". */
  readonly guest: string;
  /** What the boot chose against the errata that change code: see `mitigationsOf`. */
  readonly mitigations: string;
  /** Entries of the tables of all mechanisms. */
  readonly sites: number;
  /** Bytes of code accounted for. */
  readonly bytes: number;
  readonly verdicts: Readonly<Record<string, number>>;
  readonly findings: number;
  readonly cost: Cost | undefined;
  /** Something is wrong with this guest on purpose. */
  readonly wrong?: boolean;
  /** Faults that were put into it, when that was asked for. */
  readonly faults?: FaultCounts;
}

/** How many faults were put in, and how many got each of the right verdicts. */
export interface FaultCounts {
  readonly places: number;
  readonly foreign: number;
  readonly stale: number;
  readonly equivalent: number;
}

const verdictNames = ["built", "patched", "equivalent", "inFlight", "stale", "foreign", "absent"] as const;
/** Those of the table: the others are of interest in sum, since a dump that has stale or foreign bytes does not pass. */
const columnNames = ["patched", "equivalent", "inFlight", "absent"] as const;

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
 * @param finds ids of findings that it has to have instead, each of them and no other, where something is wrong
 */
export function judge(
  dump: Pick<MatrixResult, "name" | "release" | "guest" | "mitigations">,
  { exitCode, stdout, stderr, cost }: Measured,
  finds: readonly string[] = [],
): MatrixResult {
  const row = { ...dump, cost, sites: 0, bytes: 0, verdicts: {}, findings: 0 };
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
  const account = member(report, "account");
  const given = member(account, "verdicts");
  const mechanisms = Object.values((member(account, "mechanisms") ?? {}) as object);
  const verdicts = Object.fromEntries(verdictNames.map((verdict) => [verdict, count(member(given, verdict))]));
  const findings = list(member(report, "findings"));
  const ids = [...new Set(findings.map((finding) => String(member(finding, "id"))))];
  // A complete account may leave out a module that was just being created.
  const notChecked = member(report, "complete") === true ? [] : list(member(report, "notChecked"));
  const surplus = findings.filter((finding) => !finds.includes(String(member(finding, "id"))));
  const surplusIds = ids.filter((id) => !finds.includes(id));
  const missed = finds.filter((id) => !ids.includes(id));
  const reasons = [
    ...(verdicts.stale > 0 && !finds.includes("site.stale") ? [`${verdicts.stale} stale bytes`] : []),
    ...(verdicts.foreign > 0 ? [`${verdicts.foreign} foreign bytes`] : []),
    ...(surplus.length > 0 ? [`${surplus.length} findings: ${surplusIds.slice(0, 5).join(", ")}`] : []),
    ...(missed.length > 0 ? [`not found: ${missed.join(", ")}`] : []),
    ...(notChecked.length > 0 ? [`not checked: ${notChecked.slice(0, 2).map(text).join("; ")}`] : []),
    ...(verdicts.built + verdicts.patched === 0 ? ["no byte accounted for"] : []),
    ...(exitCode !== (finds.length > 0 ? 1 : 0) ? [`exit code ${exitCode}`] : []),
  ];
  const sites = mechanisms.reduce((sum: number, counts) => sum + count(member(counts, "sites")), 0);
  const wrong = finds.length > 0 ? { wrong: true } : {};
  const filled = {
    ...row,
    ...wrong,
    sites,
    bytes: count(member(account, "bytes")),
    verdicts,
    findings: findings.length,
  };
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

/** The results of a row's last run on record, if all of them pass. */
export function passedBefore(record: string, row: string): MatrixResult[] {
  const runs = record.split("\n").filter((line) => line !== "");
  const last = runs.map((line) => JSON.parse(line) as MatrixResult[]).findLast(([first]) => first.name === row);
  return last?.every(({ outcome }) => outcome === "pass") ? last : [];
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

/** What a document of results says about itself. */
export interface Heading {
  readonly title: string;
  readonly about: string;
}

const matrixHeading: Heading = {
  title: "Matrix",
  about: `Dumps of Debian kernels under QEMU, each diagnosed with \`palimpsest diagnose\`. Made by \`npm run lab -- matrix\`, which
always takes the newest package of each suite. \`sites\` are entries of the tables of all mechanisms, columns \`patched\` to
\`absent\` count bytes of code by verdict; \`#2\` and on are further dumps of one guest. A dump passes when nothing at all was
found in it, since each of these kernels is healthy: but for \`late-switch\`, whose lock slots were changed too late on purpose.
That must be found there and nothing else, and their bytes are not in the sums.`,
};

/** The document: totals, then one line a dump. */
export function renderMatrix(results: readonly MatrixResult[], heading = matrixHeading): string {
  const counts = ["sites", "bytes", ...columnNames.map((name) => (name === "inFlight" ? "in-flight" : name))];
  const columns = ["dump", "kernel", "guest", "mitigations", ...counts, "findings", "faults", "CPU s", "MB", "outcome"];
  const cells = (result: MatrixResult) => {
    const { cost, verdicts, faults } = result;
    const measured = (value: string | number) => (cost ? value.toLocaleString("en") : "");
    return [
      result.name,
      result.release,
      result.guest,
      result.mitigations,
      ...[result.sites, result.bytes, ...columnNames.map((name) => verdicts[name] ?? 0), result.findings].map(measured),
      faults ? `${faults.foreign + faults.stale + faults.equivalent} of ${faults.places}` : "",
      cost?.cpuSeconds.toFixed(2) ?? "",
      cost?.peakMegabytes.toFixed(0) ?? "",
      result.outcome === "pass"
        ? "pass"
        : `**${result.outcome}** ${result.reason.replaceAll("|", "/").replaceAll("\n", " ")}`,
    ];
  };
  const healthy = results.filter(({ wrong }) => !wrong);
  const sums = verdictNames.map((verdict) => {
    const sum = healthy.reduce((total, { verdicts }) => total + (verdicts[verdict] ?? 0), 0);
    return `${verdict} ${sum.toLocaleString("en")}`;
  });
  const measured = results.flatMap(({ cost }) => (cost ? [cost] : []));
  const most = (pick: (cost: Cost) => number) => Math.max(0, ...measured.map(pick));
  return `# ${heading.title}

${heading.about}

**${totals(results)}.** Bytes: ${sums.join(", ")}. At most ${most((c) => c.cpuSeconds).toFixed(2)} s of CPU and
${most((c) => c.peakMegabytes).toFixed(0)} MB for one dump.
${faultText(results)}
| ${columns.join(" | ")} |
|${columns.map((_, index) => (index < 4 || index === columns.length - 1 ? "---" : "--:")).join("|")}|
${results.map((result) => `| ${cells(result).join(" | ")} |`).join("\n")}
`;
}

/** The paragraph about faults, when there were any. */
function faultText(results: readonly MatrixResult[]): string {
  const all = results.flatMap(({ faults }) => (faults ? [faults] : []));
  const sum = (pick: (counts: FaultCounts) => number) => all.reduce((total, counts) => total + pick(counts), 0);
  const places = sum((counts) => counts.places);
  if (places === 0) return "";
  const found = [
    `${sum((counts) => counts.foreign).toLocaleString("en")} foreign`,
    `${sum((counts) => counts.stale).toLocaleString("en")} stale`,
    `${sum((counts) => counts.equivalent).toLocaleString("en")} equivalent (other NOPs: counted, no finding)`,
  ];
  return `
Faults: each healthy dump was audited once more with its share of ${places.toLocaleString("en")} faults in it, one half bytes changed at random,
the other half sites that hold another legal form of their mechanism (a jump label flipped, another target, left unpatched,
LOCK prefix for none, another NOP). Told at their exact bytes and with the right verdict: ${found.join(", ")}. A dump with a
fault missed, or anything else reported, does not pass.
`;
}
