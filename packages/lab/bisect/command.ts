// `lab bisect`: which kernel, option or module of an ordered list is the first bad one.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { wholeNumber } from "../arguments.ts";
import { LabError } from "../errors.ts";
import { cacheFolder, shortDigest } from "../paths.ts";
import { parseXenGuest, type XenBootFlags } from "../xen/arguments.ts";
import { requirePrograms } from "../xen/programs.ts";
import { TRIES } from "../xen/runs.ts";
import { candidates, indexOf, type Kind, kinds } from "./candidates.ts";
import { runBisect, type Trial } from "./run-bisect.ts";

interface BisectFlags extends XenBootFlags {
  readonly over: string;
  readonly kernel?: string;
  readonly good?: string;
  readonly bad?: string;
  readonly on: string;
  readonly finding?: string;
  readonly tries?: string;
  readonly state?: string;
}

/** Adds `bisect`. */
export function addBisectCommand(program: Command, print: (line: string) => void, note: (line: string) => void): void {
  program
    .command("bisect")
    .argument("<list...>", "kernels (aliases or FILE[:MODULES]), options of the command line, or modules; oldest first")
    .option("--over <what>", kinds.join(", "), "kernels")
    .option("--kernel <kernel>", "the kernel that options or modules are tried on")
    .option("--good <name>", "one that is good: the first without it (modules: none)")
    .option("--bad <name>", "one that is bad: the last without it")
    .option("--on <what>", "xen or qemu", "xen")
    .option("--finding <id>", "bad is who has this finding (site.stale, hang); without it, who does not boot")
    .option("--type <type>", "hvm or pvh")
    .option("--vcpus <n>", "1 to 4")
    .option("--mem <mb>", "memory in MiB")
    .option("--append <args>", "added to every guest's command line")
    .option("--load <names>", "modules of every guest")
    .option("--tries <n>", "how often emulation may fail before one is skipped")
    .option("--state <file>", "where the answers are kept; run again with it, the search goes on")
    .description("find the first bad one of an ordered list; prints it with both diagnoses")
    .action(async (items: string[], flags: BisectFlags) => {
      const kind = kinds.find((known) => known === flags.over);
      if (kind === undefined) throw new LabError(`--over "${flags.over}": it takes ${kinds.join(", ")}`);
      if (flags.on !== "xen" && flags.on !== "qemu") throw new LabError(`--on "${flags.on}": it takes xen, qemu`);
      const list = candidates(kind, items, flags.kernel);
      const good = indexOf(list, "--good", flags.good, 0);
      const bad = indexOf(list, "--bad", flags.bad, list.length - 1);
      requirePrograms();
      const guest = parseXenGuest("bisect", flags);
      const tries = wholeNumber("--tries", flags.tries, TRIES, 1, 20);
      const state = flags.state ?? stateFile(kind, items, flags);
      note(`answers are kept in ${state}`);
      const xen = { xenArguments: "", outer: false, fresh: false, tries };
      const settings = { on: flags.on, guest, finding: flags.finding, state, xen } as const;
      const end = await runBisect(list, good, bad, settings, note, (trial) => print(line(trial)));
      if (end.kind === "failed") throw new LabError(`bisect: ${end.reason}`);
      const [first] = end.suspects.slice(-1);
      print("");
      if (end.suspects.length > 1)
        print(`the first bad one is one of: ${end.suspects.map(({ name }) => name).join(", ")}`);
      else print(`first bad: ${first?.name ?? "none"}`);
      for (const trial of [end.lastGood, first]) if (trial) for (const text of told(trial)) print(text);
    });
}

function stateFile(kind: Kind, items: readonly string[], { state, ...flags }: BisectFlags): string {
  return join(cacheFolder("bisect"), `${kind}-${shortDigest(JSON.stringify([items, flags]))}.json`);
}

function line({ name, answer, outcome, findings, reason }: Trial): string {
  return `${answer.padEnd(6)}${outcome.padEnd(12)}${name}  ${findings.join(", ") || reason}`;
}

/** A trial with its diagnosis. */
function told(trial: Trial): string[] {
  const paths = ["summary.txt", "diagnosis.txt"].map((name) => join(trial.folder ?? "", name));
  const texts =
    trial.folder === undefined ? [] : paths.filter(existsSync).map((path) => readFileSync(path, "utf8").trimEnd());
  return [
    "",
    `== ${trial.answer}: ${trial.name}${trial.folder ? `  (${trial.folder})` : ""}`,
    ...(texts.length > 0 ? texts : [line(trial)]),
  ];
}
