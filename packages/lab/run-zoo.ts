// Runs the zoo: builds each kernel that the cache does not hold, then takes its boots through the matrix's machinery, with
// log, CPUs and locks looked at besides.
import { join } from "node:path";
import type { CpusResult } from "../core/src/results/cpus-results.ts";
import type { LocksResult } from "../core/src/results/lock-results.ts";
import type { LogResult } from "../core/src/results/log-results.ts";
import { LabError, UnavailableError } from "./errors.ts";
import type { Kernel } from "./kernels.ts";
import { kernelKey } from "./kernels.ts";
import type { Dump } from "./make-dump.ts";
import type { MatrixRow } from "./matrix.ts";
import type { MatrixResult } from "./matrix-report.ts";
import { palimpsest } from "./measure.ts";
import { type MatrixSettings, runMatrix } from "./run-matrix.ts";
import type { ZooRow } from "./zoo.ts";
import { BuildTooSlowError, buildFacts, buildKernel, builtKernels, zooFlavour } from "./zoo-build.ts";
import { judgeCpus, judgeLocks, judgeLog } from "./zoo-checks.ts";
import type { BuiltRow } from "./zoo-report.ts";

/**
 * A row's kernel, built in at most `limitSeconds` (0: not built at all); an older one of the cache where that cannot be.
 * @throws UnavailableError when the cache holds none either
 */
export async function kernelOf(row: ZooRow, limitSeconds: number, note: (line: string) => void): Promise<Kernel> {
  try {
    if (limitSeconds === 0) throw new BuildTooSlowError(`${row.name}: not to be built`);
    return await buildKernel(row, note, limitSeconds);
  } catch (error) {
    if (!(error instanceof BuildTooSlowError || error instanceof UnavailableError)) throw error;
    const [cached] = builtKernels(row);
    if (cached === undefined) throw new UnavailableError(zooFlavour(row), error.message);
    note(`${error.message}; using ${kernelKey(cached)} from the cache`);
    return cached;
  }
}

/** The rows of the matrix that a row's boots are. */
export function bootRows(row: ZooRow): MatrixRow[] {
  return row.boots.map(({ name, options }) => ({
    name: `${row.name}/${name}`,
    flavour: zooFlavour(row),
    options,
    ci: row.ciDay !== undefined,
    finds: [],
  }));
}

export interface ZooSettings extends Pick<MatrixSettings, "discard" | "faults" | "record"> {
  /** For each build. */
  readonly limitSeconds: number;
  /** Which boots of the rows. */
  readonly wanted: (name: string) => boolean;
}

/** Builds, boots and diagnoses. A kernel that cannot be built makes one result that says so. */
export async function runZoo(
  rows: readonly ZooRow[],
  { limitSeconds, wanted, ...settings }: ZooSettings,
  callbacks: { readonly note: (line: string) => void; readonly done: (result: MatrixResult) => void },
): Promise<MatrixResult[]> {
  const results: MatrixResult[] = [];
  for (const row of rows) {
    const boots = bootRows(row).filter(({ name }) => wanted(name));
    try {
      const kernel = await kernelOf(row, limitSeconds, callbacks.note);
      const bring = () => Promise.resolve(kernel);
      results.push(...(await runMatrix(boots, { ...settings, bring, further: lookFurther }, callbacks)));
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      const outcome = error instanceof UnavailableError ? "unavailable" : "error";
      const nothing = { sites: 0, bytes: 0, verdicts: {}, findings: 0, cost: undefined, guest: "", mitigations: "" };
      const reason = error.message.split("\n")[0];
      const result: MatrixResult = { name: row.name, outcome, reason, release: "", ...nothing };
      results.push(result);
      callbacks.done(result);
    }
  }
  return results;
}

/** What `log`, `cpus` and `locks` say of a file of a dump that is wrong. */
async function lookFurther(dump: Dump, file: string): Promise<string[]> {
  const { folder, facts } = dump;
  const arranged = ["--image", join(folder, "vmlinuz"), "--modules", join(folder, "modules"), "--json"];
  const ask = async <T>(command: string, judge: (result: T) => string[]): Promise<string[]> => {
    const { stdout, stderr, exitCode } = await palimpsest([command, join(folder, file), ...arranged]);
    if (exitCode !== 0 && exitCode !== 1)
      return [`${command}: exit code ${exitCode}: ${stderr.trim().split("\n").at(-1)}`];
    return judge(JSON.parse(stdout) as T);
  };
  return [
    ...(await ask<LogResult>("log", (log) => judgeLog(log, facts.release))),
    ...(await ask<CpusResult>("cpus", (cpus) => judgeCpus(cpus, facts.cpus))),
    ...(await ask<LocksResult>("locks", judgeLocks)),
  ];
}

/** What is known of the rows that are built. */
export function builtRows(rows: readonly ZooRow[]): Map<ZooRow, BuiltRow> {
  return new Map(
    rows.flatMap((row) => {
      const [kernel] = builtKernels(row);
      return kernel ? [[row, { version: kernel.version, ...buildFacts(kernel) }] as const] : [];
    }),
  );
}
