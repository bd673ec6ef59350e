// The lab's command line: real kernels, real dumps. `npm run lab -- COMMAND`; docs/lab.md tells the whole.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { type BootFlags, parseBootFlags, wholeNumber } from "./arguments.ts";
import { addBisectCommand } from "./bisect/command.ts";
import { run } from "./command.ts";
import { LabError, UnavailableError } from "./errors.ts";
import { flavours } from "./flavours.ts";
import { cachedKernels, fetchDebugImage, fetchKernel, requireFlavour } from "./kernels.ts";
import { cachedDumps, findDump, makeDump } from "./make-dump.ts";
import { matrix, selectRows } from "./matrix.ts";
import { renderMatrix, totals } from "./matrix-report.ts";
import { checkout } from "./measure.ts";
import { cacheRoot } from "./paths.ts";
import { runMatrix } from "./run-matrix.ts";
import { guestStates } from "./states.ts";
import { addXenCommands } from "./xen/command.ts";
import { addZooCommands } from "./zoo-command.ts";

interface MatrixFlags {
  readonly only?: string;
  readonly limit?: string;
  readonly ci?: boolean;
  readonly discard?: boolean;
  readonly write?: string;
  readonly faults?: string;
  readonly record?: string;
}

const print = (line: string) => process.stdout.write(`${line}\n`);
const note = (line: string) => process.stderr.write(`lab: ${line}\n`);
const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const program = new Command("lab")
  .description("Makes real dumps: Debian kernels under QEMU's software emulation, and on real Xen")
  .exitOverride()
  .showHelpAfterError();

program
  .command("fetch")
  .argument("<kernel>", `one of ${flavours.map(({ alias }) => alias).join(", ")}`)
  .option("--debug", "also bring its vmlinux with debug information (0.6 GB or more)")
  .description("bring the newest kernel of a flavour into the cache; prints its folder")
  .action(async (alias: string, { debug }: { debug?: boolean }) => {
    const kernel = await fetchKernel(alias, note);
    note(`${kernel.package} ${kernel.version}, release ${kernel.release}`);
    if (debug) note(`debug image ${await fetchDebugImage(kernel)}`);
    print(kernel.folder);
  });

program
  .command("boot")
  .argument("<kernel>")
  .option("--smp <n>", "CPUs")
  .option("--mem <mb>", "memory in MiB")
  .option("--cpu <model>", "QEMU's -cpu")
  .option("--append <args>", "added to the kernel's command line")
  .option("--modules <names>", "modules to load, with what they need; comma separated")
  .option("--state <names>", `what the guest does first: ${Object.keys(guestStates).join(", ")}`)
  .option("--format <names>", "elf, elf-paging, kdump-zlib (flattened), kdump-plain; comma separated")
  .option("--snapshots <n>", "how many dumps are taken, half a second apart")
  .description("boot a kernel, bring it into a state, dump its memory; prints the dump's folder")
  .action(async (alias: string, flags: BootFlags) => {
    const options = parseBootFlags(flags);
    const dump = await makeDump(await fetchKernel(alias, note), options, note);
    const { facts } = dump;
    note(`${facts.release}: booted in ${facts.bootSeconds} s, try ${facts.attempts}`);
    for (const { file, bytes, seconds } of facts.dumps) note(`${file}: ${megabytes(bytes)} in ${seconds} s`);
    if (facts.modulesMissing.length > 0) note(`not in the package: ${facts.modulesMissing.join(", ")}`);
    if (facts.modulesFailed.length > 0) note(`not loaded: ${facts.modulesFailed.join(", ")}`);
    print(dump.folder);
  });

program
  .command("matrix")
  .option("--only <pattern>", 'only dumps whose names hold it: "6.1/", "kprobe", "^7*plain$"')
  .option("--limit <n>", "at most so many dumps")
  .option("--ci", "only the part that .ci/run has time for")
  .option("--discard", "delete each dump that this run makes, once it is diagnosed")
  .option("--faults <n>", "put so many faults into each dump and hold the audit against them")
  .option("--record <file>", "add each result to this file; what passed in it is not run again")
  .option("--write <file>", "write the table there (docs/matrix.md when the whole matrix is run)")
  .description("diagnose a dump of every kernel in every state; exit status 1 when one does not pass")
  .action(async (flags: MatrixFlags) => {
    const limit = wholeNumber("--limit", flags.limit, matrix.length, 1, matrix.length);
    const rows = selectRows(matrix, flags.only).filter(({ ci }) => ci || !flags.ci);
    if (rows.length === 0) throw new LabError(`--only "${flags.only}": no dump of the matrix has such a name`);
    const faults = wholeNumber("--faults", flags.faults, 0, 1, 100_000);
    const settings = { discard: flags.discard === true, faults, record: flags.record };
    const results = await runMatrix(rows.slice(0, limit), settings, {
      note,
      done: ({ name, outcome, reason, cost }) =>
        print(
          `${outcome.padEnd(12)}${name.padEnd(32)}${cost ? `${cost.cpuSeconds.toFixed(2)} s  ${cost.peakMegabytes.toFixed(0)} MB  ` : ""}${reason}`,
        ),
    });
    print(totals(results));
    const whole = rows.length === matrix.length && limit === matrix.length;
    const file = flags.write ?? (whole ? join(checkout, "docs", "matrix.md") : undefined);
    if (file) {
      writeFileSync(file, renderMatrix(results));
      // The document is linted like every other; a checkout without Biome keeps it as it is.
      const biome = join(checkout, "node_modules", "@biomejs", "biome", "bin", "biome");
      if (existsSync(biome))
        await run(process.execPath, [biome, "format", "--write", file], { timeoutSeconds: 60, accept: [0, 1] });
    }
    const missing = results.filter(({ outcome }) => outcome === "unavailable").length;
    const wrong = results.some(({ outcome }) => outcome === "fail" || outcome === "error");
    if (wrong || missing * 3 > results.length) process.exitCode = 1;
  });

addZooCommands(program, print, note);

program
  .command("list")
  .description("the flavours, and what the cache holds")
  .action(() => {
    const kernels = cachedKernels();
    for (const { alias, suites } of flavours) {
      const kernel = kernels.find(({ flavour }) => flavour === alias);
      const held = kernel ? `${kernel.package} ${kernel.version}` : "not in the cache";
      print(`${alias.padEnd(12)}${held.padEnd(60)}${suites.join(", ")}`);
    }
    for (const { folder, facts } of cachedDumps()) {
      const size = facts.dumps.reduce((sum, { bytes }) => sum + bytes, 0);
      print(
        `${facts.flavour.padEnd(12)}${facts.states.join(",").padEnd(24)}${megabytes(size).padStart(10)}  ${folder}`,
      );
    }
  });

program
  .command("path")
  .argument("<name>", 'a kernel ("6.1") or a dump of the matrix ("6.1/plain")')
  .description("its folder in the cache, without fetching or making anything")
  .action((name: string) => {
    const row = matrix.find((known) => known.name === name);
    const alias = row?.flavour ?? requireFlavour(name).alias;
    const kernel = cachedKernels().find(({ flavour }) => flavour === alias);
    const folder = row ? kernel && findDump(kernel, row.options)?.folder : kernel?.folder;
    if (!folder) {
      const how = row ? `matrix --only '^${name}$'` : `fetch ${name}`;
      throw new LabError(`${name} is not in the cache (${cacheRoot()}); try: npm run lab -- ${how}`);
    }
    print(folder);
  });

addXenCommands(program, print, note);
addBisectCommand(program, print, note);

// Leaving through exit lets the guests that run be ended too (qemu.ts).
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof UnavailableError) {
    note(`unavailable: ${error.message}`);
    process.exitCode = 3;
  } else if (error instanceof LabError) {
    note(error.message);
    process.exitCode = 2;
  } else throw error;
}
