// Runs the matrix: makes each dump that the cache does not hold, diagnoses it with the built command, and keeps what
// that said and cost.
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { auditDamaged, openForFaults } from "./damage.ts";
import type { DumpOptions } from "./dump-types.ts";
import { LabError, UnavailableError } from "./errors.ts";
import { scoreFaults } from "./fault-score.ts";
import { chooseFaults } from "./faults.ts";
import { fetchKernel, type Kernel } from "./kernels.ts";
import type { Dump } from "./make-dump.ts";
import { findDump, makeDump } from "./make-dump.ts";
import type { MatrixRow } from "./matrix.ts";
import { judge, type MatrixResult, mitigationsOf, passedBefore } from "./matrix-report.ts";
import { palimpsest } from "./measure.ts";

const DIAGNOSE_TIMEOUT_SECONDS = 120;

/** The number of the Launchpad bug that all this began with. */
const SEED = 838026;

export interface MatrixCallbacks {
  /** One line of progress or trouble. */
  readonly note: (line: string) => void;
  /** Called with each row's result as soon as it is there. */
  readonly done: (result: MatrixResult) => void;
}

export interface MatrixSettings {
  /** Delete each dump that this run makes and that passes; one from the cache stays. */
  readonly discard: boolean;
  /** Faults put into each dump; 0 for none. */
  readonly faults: number;
  /** File of results, one JSON object a line: rows that passed in it are not run again, new results are added. */
  readonly record?: string;
  /** Brings a row's kernel; the newest package of its flavour without it. */
  readonly bring?: (row: MatrixRow) => Promise<Kernel>;
  /** Looks at a file of a dump once more; what is wrong with it, one line each. */
  readonly further?: (dump: Dump, file: string) => Promise<string[]>;
}

/** Diagnoses every row. A row that goes wrong becomes a result that says so, and the rest goes on. */
export async function runMatrix(
  rows: readonly MatrixRow[],
  settings: MatrixSettings,
  callbacks: MatrixCallbacks,
): Promise<MatrixResult[]> {
  const results: MatrixResult[] = [];
  const { record } = settings;
  const before = record !== undefined && existsSync(record) ? readFileSync(record, "utf8") : "";
  for (const row of rows) {
    const known = passedBefore(before, row.name);
    const result = known.length > 0 ? known : await runRow(row, settings, callbacks.note);
    results.push(...result);
    if (known.length > 0) continue;
    for (const one of result) callbacks.done(one);
    if (record !== undefined) appendFileSync(record, `${JSON.stringify(result)}\n`);
  }
  return results;
}

/**
 * A guest that software emulation kills in every try says nothing about Palimpsest: the row has no dump then, and the
 * run as a whole fails only when too many rows are like that.
 */
async function bootedDump<T>(row: string, make: () => Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (!(error instanceof LabError) || error instanceof UnavailableError) throw error;
    throw new UnavailableError(row, `no dump could be made: ${error.message.split("\n")[0]}`);
  }
}

/** One result for each snapshot of the row's dump: usually one. */
async function runRow(
  row: MatrixRow,
  { discard, faults, bring, further }: MatrixSettings,
  note: (line: string) => void,
): Promise<MatrixResult[]> {
  const results: MatrixResult[] = [];
  const guest = guestOf(row.options);
  try {
    const kernel = await (bring ? bring(row) : fetchKernel(row.flavour, note));
    const present = findDump(kernel, row.options);
    const dump = present ?? (await bootedDump(row.name, () => makeDump(kernel, row.options, note)));
    const wanted = dump.facts.dumps.filter(({ format }) => format === row.options.formats[0]);
    for (const [index, { file }] of wanted.entries()) {
      const name = index === 0 ? row.name : `${row.name}#${index + 1}`;
      const mitigations = mitigationsOf(dump.facts.vulnerabilities);
      const about = { name, release: kernel.release, guest, mitigations };
      const diagnosed = await diagnoseOne(dump, file, about, row.finds);
      const result = further ? failedBy(diagnosed, await further(dump, file)) : diagnosed;
      // A place that is stale already cannot be told to be so once more: faults go into dumps that are healthy.
      const count = row.finds.length === 0 ? faults : 0;
      results.push(count > 0 ? await withFaults(dump, file, result, count) : result);
    }
    // A dump that does not pass is what one wants to look at.
    if (discard && !present && results.every(({ outcome }) => outcome === "pass"))
      rmSync(dump.folder, { recursive: true, force: true });
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    const outcome = error instanceof UnavailableError ? "unavailable" : "error";
    const reason = error.message.split("\n")[0];
    const nothing = { sites: 0, bytes: 0, verdicts: {}, findings: 0, cost: undefined };
    results.push({ name: row.name, outcome, reason, release: "", guest, mitigations: "", ...nothing });
  }
  return results;
}

async function diagnoseOne(
  dump: Dump,
  file: string,
  about: Parameters<typeof judge>[0],
  finds: readonly string[],
): Promise<MatrixResult> {
  const { folder } = dump;
  const arranged = ["--image", join(folder, "vmlinuz"), "--modules", join(folder, "modules"), "--json"];
  return judge(about, await palimpsest(["diagnose", join(folder, file), ...arranged], DIAGNOSE_TIMEOUT_SECONDS), finds);
}

/** A result that does not pass for further reasons; the same without any. */
function failedBy(result: MatrixResult, reasons: readonly string[]): MatrixResult {
  if (reasons.length === 0) return result;
  const outcome = result.outcome === "pass" ? "fail" : result.outcome;
  return { ...result, outcome, reason: [result.reason, ...reasons].filter((reason) => reason !== "").join("; ") };
}

/** Audits the dump once more with faults in it. */
async function withFaults(dump: Dump, file: string, result: MatrixResult, count: number): Promise<MatrixResult> {
  const { folder } = dump;
  const opened = await openForFaults(join(folder, file), join(folder, "vmlinuz"), join(folder, "modules"));
  // Another seed for each dump, the same one in each run.
  const seed = [...result.name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, SEED);
  const faults = chooseFaults(opened, count, seed);
  const { places, found, trouble } = scoreFaults(opened, auditDamaged(opened, faults), faults);
  const counted: MatrixResult = { ...result, faults: { places, ...found } };
  if (trouble.length === 0) return counted;
  return failedBy(counted, [`faults: ${trouble.length} wrong: ${trouble.slice(0, 3).join("; ")}`]);
}

/** "4 CPUs, max, mitigations=off". */
function guestOf({ cpus, cpuModel, append }: DumpOptions): string {
  return [`${cpus} CPU${cpus === 1 ? "" : "s"}`, cpuModel, append].filter((word) => word !== "").join(", ");
}
