// Runs rows of the matrix on real Xen, the guests of each batch in one boot, and foretells each from what it does not show.
// What a file records is not run again.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { LabError, UnavailableError } from "../errors.ts";
import { fetchKernel } from "../kernels.ts";
import type { XenRow } from "./matrix.ts";
import { xenMatrix } from "./matrix.ts";
import type { XenRowResult } from "./matrix-report.ts";
import { type Prediction, predict } from "./predict.ts";
import { type GuestKernel, kernelOfCache } from "./prepare.ts";
import { type BatchResult, type BatchSettings, runGuests, type XenRun } from "./runs.ts";

export interface XenMatrixSettings extends BatchSettings {
  /** Guests in one boot of Xen. */
  readonly batch: number;
  /** JSON lines of results: read first, added to. */
  readonly record: string | undefined;
}

/** Results recorded in `file`, the newest of each row. */
export function recorded(file: string | undefined): Map<string, XenRowResult> {
  const lines = file !== undefined && existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
  const results = lines.filter((line) => line !== "").map((line) => JSON.parse(line) as XenRowResult);
  return new Map(results.map((result) => [result.name, result]));
}

/** Runs `rows` that the record has no outcome of; `done` hears of each. */
export async function runXenMatrix(
  rows: readonly XenRow[],
  settings: XenMatrixSettings,
  note: (line: string) => void,
  done: (result: XenRowResult) => void,
): Promise<XenRowResult[]> {
  const known = recorded(settings.record);
  const finish = (result: XenRowResult) => {
    known.set(result.name, result);
    if (settings.record) appendFileSync(settings.record, `${JSON.stringify(result)}\n`);
    done(result);
  };
  const healthy = new Map<string, XenRun>();
  const open = rows.filter(({ name }) => !known.get(name)?.facts);
  for (let from = 0; from < open.length; from += settings.batch) {
    const batch: { row: XenRow; kernel: GuestKernel }[] = [];
    for (const row of open.slice(from, from + settings.batch)) {
      try {
        batch.push({ row, kernel: kernelOfCache(await fetchKernel(row.flavour, note)) });
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        finish({ name: row.name, prediction: NOTHING, facts: undefined, diagnosed: undefined, reason: error.message });
      }
    }
    const wanted = batch.map(({ row, kernel }) => ({ kernel, guest: row.guest }));
    const ended = new Map<number, BatchResult>();
    await runGuests(wanted, settings, note, (index, result) => ended.set(index, result));
    for (const [index, result] of ended) if (result.kind === "run") healthy.set(batch[index].row.name, result.run);
    // Foretold from other rows' cores and from images only, so that it may be done now that no machine is in the way.
    for (const [index, { row, kernel }] of batch.entries()) {
      const result = ended.get(index);
      const source = row.from === undefined ? undefined : await healthyRun(row.from, healthy, settings, note);
      const prediction = await predict(row, kernel, source);
      if (result?.kind === "run") {
        finish({ name: row.name, prediction, facts: result.run.facts, diagnosed: result.run.diagnosed, reason: "" });
      } else {
        const why = `emulation, ${result?.tries.length ?? 0} tries: ${result?.tries.at(-1)?.reason ?? "no try"}`;
        finish({ name: row.name, prediction, facts: undefined, diagnosed: undefined, reason: why });
      }
    }
  }
  return rows.flatMap(({ name }) => known.get(name) ?? []);
}

const NOTHING: Prediction = { outcome: undefined, by: "" };

/** The run of a healthy row, from the cache or made now. */
async function healthyRun(
  name: string,
  known: Map<string, XenRun>,
  settings: BatchSettings,
  note: (line: string) => void,
): Promise<XenRun | undefined> {
  const row = xenMatrix.find((each) => each.name === name);
  if (!row) throw new LabError(`no row ${name}`);
  if (!known.has(name)) {
    const kernel = kernelOfCache(await fetchKernel(row.flavour, note));
    await runGuests([{ kernel, guest: row.guest }], { ...settings, fresh: false }, note, (_, result) => {
      if (result.kind === "run") known.set(name, result.run);
    });
  }
  return known.get(name);
}
