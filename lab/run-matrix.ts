// Runs the matrix: makes each dump that the cache does not hold, diagnoses it with the built command, and keeps what
// that said and cost.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { LabError, UnavailableError } from "./errors.ts";
import { fetchKernel } from "./kernels.ts";
import { findDump, makeDump } from "./make-dump.ts";
import type { MatrixRow } from "./matrix.ts";
import { judge, type MatrixResult, mitigationsOf } from "./matrix-report.ts";
import { palimpsest } from "./measure.ts";

const DIAGNOSE_TIMEOUT_SECONDS = 120;

export interface MatrixCallbacks {
  /** One line of progress or trouble. */
  readonly note: (line: string) => void;
  /** Called with each row's result as soon as it is there. */
  readonly done: (result: MatrixResult) => void;
}

/**
 * Diagnoses every row. With `discard`, a dump that this run made is deleted again; one from the cache stays. A row
 * that goes wrong becomes a result that says so, and the rest goes on.
 */
export async function runMatrix(
  rows: readonly MatrixRow[],
  discard: boolean,
  callbacks: MatrixCallbacks,
): Promise<MatrixResult[]> {
  const results: MatrixResult[] = [];
  for (const row of rows) {
    const result = await runRow(row, discard, callbacks.note);
    results.push(...result);
    for (const one of result) callbacks.done(one);
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
async function runRow(row: MatrixRow, discard: boolean, note: (line: string) => void): Promise<MatrixResult[]> {
  const results: MatrixResult[] = [];
  try {
    const kernel = await fetchKernel(row.flavour, note);
    const present = findDump(kernel, row.options);
    const dump = present ?? (await bootedDump(row.name, () => makeDump(kernel, row.options, note)));
    const arranged = ["--image", join(dump.folder, "vmlinuz"), "--modules", join(dump.folder, "modules"), "--json"];
    const wanted = dump.facts.dumps.filter(({ format }) => format === row.options.formats[0]);
    for (const [index, { file }] of wanted.entries()) {
      const name = index === 0 ? row.name : `${row.name}#${index + 1}`;
      const mitigations = mitigationsOf(dump.facts.vulnerabilities);
      const run = await palimpsest(["diagnose", join(dump.folder, file), ...arranged], DIAGNOSE_TIMEOUT_SECONDS);
      results.push(judge({ name, release: kernel.release, mitigations }, run));
    }
    if (discard && !present) rmSync(dump.folder, { recursive: true, force: true });
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    const outcome = error instanceof UnavailableError ? "unavailable" : "error";
    const reason = error.message.split("\n")[0];
    results.push({
      name: row.name,
      outcome,
      reason,
      release: "",
      mitigations: "",
      verdicts: {},
      findings: 0,
      cost: undefined,
    });
  }
  return results;
}
