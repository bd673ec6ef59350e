// `lab xen …`: the part of the lab's command line that has real Xen under it. docs/xen.md tells the whole.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { wholeNumber } from "../arguments.ts";
import { LabError } from "../errors.ts";
import { fetchKernel } from "../kernels.ts";
import { selectRows } from "../matrix.ts";
import { checkout } from "../measure.ts";
import { parseXenGuest, type XenBootFlags } from "./arguments.ts";
import { runCi } from "./ci.ts";
import { xenMatrix } from "./matrix.ts";
import { agreement, renderXenTable, replaceTable } from "./matrix-report.ts";
import { kernelOfCache, kernelOfFile } from "./prepare.ts";
import { requirePrograms } from "./programs.ts";
import { recorded, runXenMatrix } from "./run-matrix.ts";
import { cachedRuns, runGuests, TRIES, type Wanted } from "./runs.ts";
import { cachedSetup, setupXen } from "./setup.ts";

type Print = (line: string) => void;

interface MatrixFlags {
  readonly only?: string;
  readonly limit?: string;
  readonly batch?: string;
  readonly tries?: string;
  readonly fresh?: boolean;
  readonly record?: string;
  readonly write?: boolean;
}

interface BootCommandFlags extends XenBootFlags {
  readonly kernel?: string;
  readonly modules?: string;
  readonly xenArgs?: string;
  readonly outer?: boolean;
  readonly fresh?: boolean;
  readonly tries?: string;
  readonly times?: string;
}

/** Adds `xen` with its commands. */
export function addXenCommands(program: Command, print: Print, note: Print): Command {
  const xen = program
    .command("xen")
    .description("guests on real Xen: packages of this Debian, emulated, no root and no KVM needed");
  xen
    .command("setup")
    .description("bring Xen, its tools and a dom0 into the cache; prints its folder")
    .action(async () => {
      requirePrograms();
      print((await setupXen(note)).folder);
    });
  xen
    .command("boot")
    .argument("[kernel]", "a kernel of the lab (lab list); or --kernel FILE")
    .option("--kernel <file>", "a bzImage of your own")
    .option("--modules <dir>", "its lib/modules/RELEASE")
    .option("--type <type>", "hvm or pvh")
    .option("--vcpus <n>", "1 to 4")
    .option("--mem <mb>", "memory in MiB")
    .option("--append <args>", "added to the guest kernel's command line")
    .option("--load <names>", "modules to load, with what they need; comma separated")
    .option("--set <option=value...>", "an option of xl.cfg(5): xen_platform_pci=0")
    .option("--no-pvspin", "without Xen's spinlocks (xen_nopvspin)")
    .option("--no-callback-vector", "events by a PCI interrupt (xen_no_vector_callback)")
    .option("--late <to>", "switch the lock slots after boot: to xen (with --no-pvspin) or native")
    .option("--repair <how>", "what is done about it: none, slots-back, patched-again, back-before-load")
    .option("--xen-args <args>", "added to Xen's command line")
    .option("--outer", "also write the whole machine's memory from outside")
    .option("--fresh", "though the cache has it")
    .option("--tries <n>", "how often emulation may fail")
    .option("--times <n>", "run it so often and count how it ends")
    .description("boot a guest, judge how it ends, take its core, diagnose it; prints the run's folder")
    .action(async (alias: string | undefined, flags: BootCommandFlags) => {
      requirePrograms();
      if ((alias === undefined) === (flags.kernel === undefined))
        throw new LabError("which kernel? Either one of the lab (lab list) or --kernel FILE");
      const kernel =
        flags.kernel === undefined
          ? kernelOfCache(await fetchKernel(alias ?? "", note))
          : kernelOfFile(flags.kernel, flags.modules);
      const guest = parseXenGuest(`${kernel.flavour}-${flags.type ?? "hvm"}`, flags);
      const times = wholeNumber("--times", flags.times, 1, 1, 100);
      const settings = {
        xenArguments: flags.xenArgs ?? "",
        outer: flags.outer === true,
        fresh: flags.fresh === true || times > 1,
        tries: wholeNumber("--tries", flags.tries, TRIES, 1, 20),
      };
      const ends: string[] = [];
      for (let time = 1; time <= times; time++) {
        const wanted: Wanted[] = [{ kernel, guest }];
        await runGuests(wanted, settings, note, (_, result) => {
          ends.push(result.kind === "run" ? result.run.facts.result.outcome : "emulation");
          if (result.kind === "run") {
            note(`${result.run.facts.result.outcome}: ${result.run.facts.result.reason}`);
            print(result.run.folder);
          } else
            note(
              `emulation: ${result.tries.at(-1)?.reason ?? "no try"}; ${result.tries.length} tries, none came to an end`,
            );
        });
      }
      if (times > 1)
        print(
          `${times} times: ${[...new Set(ends)].map((end) => `${ends.filter((each) => each === end).length} ${end}`).join(", ")}`,
        );
      if (ends.every((end) => end === "emulation")) process.exitCode = 3;
    });
  xen
    .command("matrix")
    .option("--only <pattern>", 'only rows whose names hold one of these: "6.1/", "late-xen", "^5.10/hvm*none$"')
    .option("--limit <n>", "at most so many rows")
    .option("--batch <n>", "guests in one boot of Xen")
    .option("--tries <n>", "how often emulation may fail for one row")
    .option("--fresh", "though the cache has them")
    .option("--record <file>", "add each result to this file; what has an outcome in it is not run again")
    .option("--write", "put the recorded rows into docs/xen.md")
    .description("foretell and run the experiments; exit status 1 when a row does not agree")
    .action(async (flags: MatrixFlags) => {
      requirePrograms();
      const patterns = flags.only?.split(",") ?? [undefined];
      const chosen = new Set(patterns.flatMap((pattern) => selectRows(xenMatrix, pattern)));
      const rows = xenMatrix.filter((row) => chosen.has(row));
      if (rows.length === 0) throw new LabError(`--only "${flags.only}": no row has such a name`);
      const limit = wholeNumber("--limit", flags.limit, rows.length, 0, rows.length);
      const settings = {
        xenArguments: "",
        outer: false,
        fresh: flags.fresh === true,
        tries: wholeNumber("--tries", flags.tries, TRIES, 1, 20),
        batch: wholeNumber("--batch", flags.batch, 3, 1, 8),
        record: flags.record,
      };
      const results = await runXenMatrix(rows.slice(0, limit), settings, note, (result) =>
        print(
          `${agreement(result).padEnd(14)}${result.name.padEnd(34)}${result.facts?.result.outcome ?? result.reason}`,
        ),
      );
      if (flags.write) {
        const known = recorded(flags.record);
        const have = xenMatrix.flatMap(({ name }) => known.get(name) ?? []);
        const rest = xenMatrix.filter(({ name }) => !known.has(name)).map(({ name }) => name);
        const file = join(checkout, "docs", "xen.md");
        writeFileSync(file, replaceTable(readFileSync(file, "utf8"), renderXenTable(have, rest)));
      }
      if (results.some((result) => agreement(result) === "no")) process.exitCode = 1;
      else if (results.some((result) => agreement(result) === "not run")) process.exitCode = 3;
    });
  xen
    .command("ci")
    .option("--seconds <n>", "at most so long")
    .description("one HVM guest, dumped and diagnosed; exit status 1 the product failed, 3 only emulation did")
    .action(async ({ seconds }: { seconds?: string }) => {
      requirePrograms();
      const start = Date.now();
      const limit = wholeNumber("--seconds", seconds, 720, 180, 7200);
      await setupXen(note);
      const kernel = kernelOfCache(await fetchKernel(xenMatrix[0].flavour, note));
      const verdict = await runCi(kernel, limit - (Date.now() - start) / 1000, note);
      print(verdict.words);
      process.exitCode = verdict.exitCode;
    });
  xen
    .command("list")
    .description("Xen and its runs in the cache")
    .action(() => {
      const setup = cachedSetup();
      print(
        setup
          ? `Xen ${setup.version}, dom0 ${setup.dom0Release}`
          : "no Xen in the cache; try: npm run lab -- xen setup",
      );
      for (const { folder, facts, diagnosed } of cachedRuns())
        print(
          `${facts.result.outcome.padEnd(10)}${facts.release.padEnd(24)}${(diagnosed.findings.join(",") || "no finding").padEnd(30)} ${folder}`,
        );
    });
  return xen;
}
