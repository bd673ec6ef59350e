// The lab's commands for the zoo: `build` one kernel, `zoo` to take its kernels through everything.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { wholeNumber } from "./arguments.ts";
import { run } from "./command.ts";
import { LabError, UnavailableError } from "./errors.ts";
import { patternTest } from "./matrix.ts";
import { totals } from "./matrix-report.ts";
import { checkout } from "./measure.ts";
import { builtRows, kernelOf, runZoo } from "./run-zoo.ts";
import { rowOfDay, type ZooRow, zoo } from "./zoo.ts";
import { buildKernel, builtKernels } from "./zoo-build.ts";
import { renderZoo } from "./zoo-report.ts";

interface ZooFlags {
  readonly only?: string;
  readonly ci?: boolean;
  readonly discard?: boolean;
  readonly faults?: string;
  readonly record?: string;
  readonly write?: string;
  readonly minutes?: string;
  readonly build?: boolean;
}

/** Minutes for one build, unless told otherwise: one idle core does it in ten. */
const BUILD_MINUTES = 60;
/** What .ci/run has for its build; booting and diagnosing take two minutes more. */
const CI_BUILD_MINUTES = 6;

/** @throws LabError naming the kernels that there are */
export function requireRow(name: string): ZooRow {
  const row = zoo.find((each) => each.name === name);
  if (row) return row;
  throw new LabError(`no kernel "${name}" in the zoo; there are ${zoo.map((each) => each.name).join(", ")}`);
}

/** The rows of which a boot's name holds the pattern, or the row's own. */
export function selectZoo(pattern: string | undefined): { rows: ZooRow[]; wanted: (name: string) => boolean } {
  const test = patternTest(pattern);
  const rows = zoo.filter((row) => row.boots.some(({ name }) => test(`${row.name}/${name}`)));
  return { rows, wanted: test };
}

/** Adds the commands to the lab's. */
export function addZooCommands(program: Command, print: (line: string) => void, note: (line: string) => void): void {
  program
    .command("build")
    .argument("<name>", "a kernel of the zoo; docs/zoo.md lists them")
    .option("--minutes <n>", "the longest that it may take")
    .description("build a kernel of the zoo from Debian's linux-source package; prints its folder")
    .action(async (name: string, flags: { minutes?: string }) => {
      const minutes = wholeNumber("--minutes", flags.minutes, BUILD_MINUTES, 1, 600);
      print((await buildKernel(requireRow(name), note, minutes * 60)).folder);
    });

  program
    .command("zoo")
    .option("--only <pattern>", 'only boots whose names hold it: "6.12-", "-up/", "2cpu"')
    .option("--ci", "the kernel of this day of the week, at 2 CPUs; another from the cache when it takes too long")
    .option("--discard", "delete each dump that this run makes, once it passes")
    .option("--faults <n>", "put so many faults into each dump and hold the audit against them")
    .option("--record <file>", "add each result to this file; what passed in it is not run again")
    .option("--minutes <n>", "the longest that one build may take")
    .option("--no-build", "only kernels that the cache holds")
    .option("--write <file>", "write the table there (docs/zoo.md when the whole zoo is run)")
    .description("build, boot and diagnose the kernels of the zoo; exit status 1 when one does not pass")
    .action(async (flags: ZooFlags) => {
      const minutes = wholeNumber("--minutes", flags.minutes, flags.ci ? CI_BUILD_MINUTES : BUILD_MINUTES, 1, 600);
      const faults = wholeNumber("--faults", flags.faults, 0, 1, 100_000);
      const limitSeconds = flags.build === false ? 0 : minutes * 60;
      const { rows, wanted } = flags.ci ? await ciRows(limitSeconds, note) : selectZoo(flags.only);
      if (rows.length === 0 && !flags.ci)
        throw new LabError(`--only "${flags.only}": no boot of the zoo has such a name`);
      const settings = {
        discard: flags.discard === true,
        faults,
        record: flags.record,
        limitSeconds,
        wanted,
      };
      const results = await runZoo(rows, settings, {
        note,
        done: ({ name, outcome, reason, cost }) =>
          print(`${outcome.padEnd(12)}${name.padEnd(32)}${cost ? `${cost.cpuSeconds.toFixed(2)} s  ` : ""}${reason}`),
      });
      print(totals(results));
      const file =
        flags.write ??
        (rows.length === zoo.length && !flags.ci && !flags.only ? join(checkout, "docs", "zoo.md") : undefined);
      if (file) await writeDocument(file, renderZoo(zoo, builtRows(zoo), results));
      if (results.some(({ outcome }) => outcome === "fail" || outcome === "error")) process.exitCode = 1;
    });
}

/**
 * What .ci/run looks at today: the day's kernel, or one that the cache holds when that is not to be had in time. None
 * at all is no fault of the code under test.
 */
async function ciRows(
  limitSeconds: number,
  note: (line: string) => void,
): Promise<{ rows: ZooRow[]; wanted: (name: string) => boolean }> {
  const wanted = (name: string) => /\/[12]cpu$/.test(name);
  const today = rowOfDay(new Date().getUTCDay());
  if (today) {
    try {
      await kernelOf(today, limitSeconds, note);
      return { rows: [today], wanted };
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      note(error.message);
    }
  }
  const other = zoo.find((row) => builtKernels(row).length > 0);
  if (other) note(`${other.name} from the cache serves today`);
  return { rows: other ? [other] : [], wanted };
}

async function writeDocument(file: string, text: string): Promise<void> {
  writeFileSync(file, text);
  // The document is linted like every other; a checkout without Biome keeps it as it is.
  const biome = join(checkout, "node_modules", "@biomejs", "biome", "bin", "biome");
  if (existsSync(biome))
    await run(process.execPath, [biome, "format", "--write", file], { timeoutSeconds: 60, accept: [0, 1] });
}
