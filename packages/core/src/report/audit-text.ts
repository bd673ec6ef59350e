// The text of `diagnose` and `audit`: findings first, then the account, on one screen.
import type { AuditResult } from "../results/results.ts";
import type { Triage } from "../results/triage.ts";
import type { Finding } from "../results/types.ts";
import { findingLines } from "./finding-text.ts";
import { counted, grouped, table } from "./format.ts";
import { generatedBlock } from "./generated-text.ts";
import { groupFindings } from "./groups.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";
import { triageLines } from "./sys-text.ts";

export interface AuditTextOptions {
  /** Findings (groups of equal cause) that are shown; the rest is counted. 0 shows all. */
  readonly limit: number;
  /** Objects and mechanisms in full. */
  readonly detailed: boolean;
  /** The machine when the dump was taken; left out where only the account was asked for. */
  readonly triage?: Triage;
}

/** Kinds of findings about standing still and dying, which leave code and slots as they should be. */
const isHang = ({ id }: Finding): boolean => /^(hang|crash)\./.test(id) && id !== "hang.lock-pair";

/** Something stands still or died, and nothing is wrong with the code: what the account would show is folded. */
function isNoPatchingFault(result: AuditResult): boolean {
  const told = result.findings.filter(({ severity }) => severity !== "note");
  return told.some(isHang) && told.every(isHang) && result.findingsLeftOut === 0 && result.account.bytes > 0;
}

function noPatchingFault(result: AuditResult, paint: Paint): string[] {
  const { account } = result;
  const bytes = grouped(account.bytes - account.verdicts.absent);
  const line = result.complete
    ? paint.green(`Code and slots are right: not a patching fault (${bytes} bytes compared).`)
    : paint.yellow(`No patching fault in the ${bytes} bytes that could be compared; not everything could be.`);
  return [line, paint.dim("`palimpsest audit` has the account of every byte.")];
}

function verdictLine(result: AuditResult, paint: Paint): string {
  const { account, findings } = result;
  const absent = account.verdicts.absent;
  if (account.bytes === 0) return paint.yellow("No code was compared with an image.");
  const told = findings.filter((finding) => finding.severity !== "note");
  const errors = told.length + result.findingsLeftOut;
  if (errors > 0) {
    const causes = causesOf(told);
    const rest = result.complete ? "" : " Not everything could be looked at.";
    return paint.red(
      causes === errors
        ? `${counted(errors, "finding")}.${rest}`
        : `${counted(causes, "cause")}, ${counted(errors, "finding")}.${rest}`,
    );
  }
  if (!result.objects.some((object) => object.name === "vmlinux" && object.checked)) {
    return paint.yellow(
      `No findings in the ${grouped(account.bytes - absent)} bytes that could be checked; the core had no image that the rest could be checked with.`,
    );
  }
  const rest = absent > 0 ? ` (${grouped(absent)} more are not in the dump)` : "";
  if (!result.complete) {
    // What was not looked at comes before what was found in the rest.
    const objects = new Set(result.notChecked.map(({ object }) => object));
    const what =
      objects.size > 0
        ? `${counted(objects.size, "object")} could not be checked as a whole`
        : absent > 0
          ? "Not all code is in the dump"
          : "Not everything could be looked at";
    return paint.yellow(
      `${what}; nothing is wrong in the ${grouped(account.bytes - absent)} bytes of kernel code that could be checked${rest}.`,
    );
  }
  return paint.green(
    `No findings: ${grouped(account.bytes - absent)} bytes of kernel code are what this kernel's own state calls for${rest}.`,
  );
}

/** A slot that was changed late explains the stale sites that were patched from it: these are counted, not repeated. */
function following(findings: readonly Finding[]): (finding: Finding) => boolean {
  const late = new Set(findings.flatMap((each) => (each.id === "slot.late-write" ? [each.slot.address] : [])));
  return (each) => each.id === "site.stale" && each.slot?.address !== undefined && late.has(each.slot.address);
}

/** Findings that do not follow from another one, those of one cause as one. */
function causesOf(findings: readonly Finding[]): number {
  const follows = following(findings);
  return groupFindings(findings.filter((each) => !follows(each))).length;
}

function findingBlock(result: AuditResult, options: AuditTextOptions, paint: Paint): string[] {
  const isExplained = following(result.findings);
  const follows = (each: Finding): boolean => !options.detailed && isExplained(each);
  const explained = result.findings.filter(follows).length;
  const groups = groupFindings(result.findings.filter((each) => !follows(each)));
  const shown = options.limit === 0 ? groups : groups.slice(0, options.limit);
  const lines: string[] = [];
  for (const { findings } of shown) {
    lines.push("", ...findingLines(findings[0], paint));
    if (findings.length > 1) {
      const places = findings.slice(1, 4).map((finding) => finding.symbol);
      const more = findings.length > 4 ? ", …" : "";
      lines.push(paint.dim(`    and at ${counted(findings.length - 1, "more site")}: ${places.join(", ")}${more}`));
    }
  }
  if (shown.length < groups.length) {
    lines.push("", `${shown.length} of ${grouped(groups.length)} findings shown; --limit 0 shows all`);
  }
  if (explained > 0) {
    const what = counted(explained, "stale site follows", "stale sites follow");
    lines.push("", `${what} from the slots above; \`palimpsest audit\` lists them`);
  }
  if (result.findingsLeftOut > 0) {
    lines.push(
      `${counted(result.findingsLeftOut, "more run")} of foreign bytes were counted without a finding of their own`,
    );
  }
  return lines;
}

const VERDICTS = [
  ["built", "built", "untouched"],
  ["patched", "patched", "as the kernel's state calls for"],
  ["equivalent", "equivalent", "other NOPs, same effect"],
  ["in-flight", "inFlight", "being patched at the moment of the dump"],
  ["stale", "stale", "a legal form, but not the one its slot calls for"],
  ["foreign", "foreign", "nothing explains them"],
  ["absent", "absent", "not in the dump"],
] as const;

function accountBlock(result: AuditResult, paint: Paint): string[] {
  const { account } = result;
  const rows = VERDICTS.filter(([, key]) => account.verdicts[key] > 0 || key === "stale" || key === "foreign").map(
    ([name, key, meaning]) => ({ cells: [name, grouped(account.verdicts[key])], meaning }),
  );
  const lines = table([["bytes of code", grouped(account.bytes)], ...rows.map((row) => row.cells)]);
  return ["", ...lines.map((line, i) => (i === 0 ? line : `${line}  ${paint.dim(rows[i - 1].meaning)}`))];
}

function mechanismBlock(result: AuditResult): string[] {
  const entries = Object.entries(result.account.mechanisms).sort((a, b) => b[1].bytes - a[1].bytes);
  if (entries.length === 0) return [];
  return [
    "",
    ...table([
      ["mechanism", "sites", "bytes patched", "stale sites"],
      ...entries.map(([name, counts]) => [name, grouped(counts.sites), grouped(counts.bytes), grouped(counts.stale)]),
    ]),
  ];
}

function objectBlock(result: AuditResult, detailed: boolean): string[] {
  const checked = result.objects.filter((object) => object.checked);
  if (!detailed) {
    const names = checked.map((object) => object.name);
    const freed =
      result.account.freed > 0
        ? `; ${grouped(result.account.freed)} bytes of init code were freed and are left out`
        : "";
    return ["", `  checked: ${names.join(", ") || "nothing"}${freed}`];
  }
  const lines = [
    "",
    ...table([
      ["object", "bytes", "patched", "stale", "foreign", "absent"],
      ...checked.map((object) => [
        object.name,
        grouped(object.bytes),
        grouped(object.verdicts?.patched ?? 0),
        grouped(object.verdicts?.stale ?? 0),
        grouped(object.verdicts?.foreign ?? 0),
        grouped(object.verdicts?.absent ?? 0),
      ]),
    ]),
  ];
  for (const object of checked) {
    for (const part of object.freed ?? [])
      lines.push(`  freed: ${object.name} ${part.section}, ${counted(part.bytes, "byte")}`);
  }
  return lines;
}

/** Objects that are named for one reason. */
const MOST_NAMES = 8;

/** One line a reason: a missing folder of modules is one fact, not twenty. */
function notCheckedLines(result: AuditResult, detailed: boolean, paint: Paint): string[] {
  const byReason = new Map<string, { readonly reason: string; readonly names: readonly string[] }>();
  for (const { object, reason } of result.notChecked) {
    // Reasons that differ in the object's name only are one; it is told with the first object's name.
    const key = detailed ? `${object}: ${reason}` : reason.replaceAll(object, "\0");
    const same = byReason.get(key) ?? { reason: detailed ? key : reason, names: [] };
    byReason.set(key, { ...same, names: [...same.names, object] });
  }
  return [...byReason.values()].map(({ reason, names }) => {
    const shown =
      names.length > MOST_NAMES ? [...names.slice(0, MOST_NAMES), `${names.length - MOST_NAMES} more`] : names;
    return `  ${paint.yellow("not checked")}: ${detailed ? reason : `${shown.join(", ")}: ${reason}`}`;
  });
}

/** The whole report. */
export function auditText(result: AuditResult, options: AuditTextOptions, paint: Paint): string {
  const folded = !options.detailed && isNoPatchingFault(result);
  // Spread into an array, not into push(): a call takes some 100,000 arguments, and an audit may have more lines.
  const lines = [
    ...headLines(result, paint),
    "",
    ...(options.triage === undefined ? [] : [...triageLines(options.triage, paint), ""]),
    verdictLine(result, paint),
    ...notCheckedLines(result, options.detailed, paint),
    ...findingBlock(result, options, paint),
    ...(folded
      ? ["", ...noPatchingFault(result, paint)]
      : [
          ...accountBlock(result, paint),
          ...mechanismBlock(result),
          ...objectBlock(result, options.detailed),
          ...generatedBlock(result.generated, options.detailed),
        ]),
  ];
  for (const note of options.detailed ? result.notes : result.notes.slice(0, 5))
    lines.push(paint.dim(`  note: ${note}`));
  if (!options.detailed && result.notes.length > 5)
    lines.push(paint.dim(`  … ${result.notes.length - 5} more notes: see audit`));
  return `${lines.join("\n")}\n`;
}
