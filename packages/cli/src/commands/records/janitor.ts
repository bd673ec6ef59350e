// `janitor changelog|expire|confirm|watch`: closes what published packages fixed.

import { statSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { type Command, Option } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import type { ChangelogEntry, Closing } from "../../../../records/src/index.ts";
import { note, print } from "../../terminal.ts";
import { wholeNumber, wholeNumberOption } from "../common.ts";
import { type StoreContext, type StoreOptions, storeCommand, withStore } from "./store.ts";

interface JanitorOptions extends StoreOptions {
  readonly distribution?: string;
  readonly series?: string;
  readonly since?: string;
  readonly latest?: boolean;
  readonly copy?: boolean;
  readonly dryRun?: boolean;
  readonly days?: string;
  readonly interval?: string;
  readonly once?: boolean;
}

export function registerJanitor(program: Command): void {
  const parent = program
    .command("janitor")
    .description("close records that published packages fixed, expire and confirm others");
  const closing = (usage: string, description: string) =>
    storeCommand(parent, usage, description)
      .option("--distribution <name>", "ubuntu or debian (default: by the series' name)")
      .option("--series <name>", "publish to this series instead of the changelog's")
      .addOption(new Option("--copy", "a copied package: Closes: counts beside LP:"))
      .option("--dry-run", "say what would be closed, change nothing");
  closing("changelog <files...>", "close what changelogs, .changes, .dsc or .deb files name")
    .option("--since <version>", "only entries above this version")
    .option("--latest", "only the newest entry of each")
    .action((files: string[], options: JanitorOptions) =>
      withStore(options, (context) => closeFiles(context, files, options)),
    );
  closing("watch <dir>", "look into a repository's folder again and again")
    .addOption(wholeNumberOption("--interval <seconds>", "between two looks", "300"))
    .option("--once", "look once")
    .action((dir: string, options: JanitorOptions) => withStore(options, (context) => watch(context, dir, options)));
  storeCommand(parent, "expire", "expire what is Incomplete and was not answered")
    .addOption(wholeNumberOption("--days <n>", "without any change", "60"))
    .action((options: JanitorOptions) =>
      withStore(options, async ({ records, store }) => {
        const jobs = await records.expire(store, wholeNumber(options.days, 60));
        print(
          options.json
            ? `${JSON.stringify({ schema: "palimpsest/janitor/1", expired: jobs }, null, 2)}\n`
            : jobs.map(({ bug, task }) => `#${bug}  ${task}: Expired\n`).join(""),
        );
        return 0;
      }),
    );
  storeCommand(parent, "confirm", "confirm what is New and affects several people").action((options: JanitorOptions) =>
    withStore(options, async ({ records, store }) => {
      const jobs = await records.confirm(store);
      print(
        options.json
          ? `${JSON.stringify({ schema: "palimpsest/janitor/1", confirmed: jobs }, null, 2)}\n`
          : jobs.map(({ bug, task }) => `#${bug}  ${task}: Confirmed\n`).join(""),
      );
      return 0;
    }),
  );
}

async function closeFiles(
  { records, store }: StoreContext,
  files: readonly string[],
  options: JanitorOptions,
): Promise<number> {
  const all: Closing[] = [];
  for (const file of files) {
    const entries = chosen(await records.entriesOf(file), options, file);
    const { distribution, series, dryRun, copy: isCopy } = options;
    all.push(...(await records.closeFromEntries(store, entries, { distribution, series, dryRun, isCopy })));
  }
  tell(all, options);
  return 0;
}

function chosen(
  entries: readonly ChangelogEntry[],
  { since, latest }: JanitorOptions,
  file: string,
): readonly ChangelogEntry[] {
  if (latest) return entries.slice(0, 1);
  if (since === undefined) return entries;
  const at = entries.findIndex((entry) => entry.version === since);
  if (at < 0) throw new UsageError(`${file}: has no version ${since}`);
  return entries.slice(0, at);
}

function tell(closings: readonly Closing[], { json, dryRun }: JanitorOptions): void {
  if (json) {
    print(`${JSON.stringify({ schema: "palimpsest/janitor/1", dryRun: dryRun ?? false, closings }, null, 2)}\n`);
    return;
  }
  const words: Readonly<Record<Closing["outcome"], string>> = {
    closed: dryRun ? "would be Fix Released" : "Fix Released",
    "was-released": "was Fix Released already",
    before: "was done before",
    "no-task": "has no task for it",
    "no-record": "is no record here",
  };
  for (const { bug, package: name, version, task, outcome } of closings) {
    if (outcome === "no-record" && closings.length > 40) continue;
    print(`#${bug}  ${name} ${version}  ${task ? `${task}: ` : ""}${words[outcome]}\n`);
  }
  const count = (outcome: Closing["outcome"]) => closings.filter((each) => each.outcome === outcome).length;
  print(`${count("closed")} closed, ${count("before")} done before, ${closings.length} named\n`);
}

/** Files that changed since the last look; an unreadable one is told and does not stop the others. */
async function watch(context: StoreContext, dir: string, options: JanitorOptions): Promise<number> {
  const { records, store } = context;
  const seen = new Map<string, string>();
  let ended = false;
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      ended = true;
      stop.abort();
    });
  }
  while (!ended) {
    for (const file of records.changelogFiles(dir)) {
      const { mtimeMs, size } = statSync(file);
      const state = `${mtimeMs} ${size}`;
      if (seen.get(file) === state) continue;
      seen.set(file, state);
      try {
        const entries = await records.entriesOf(file);
        const closings = await records.closeFromEntries(store, entries, {
          distribution: options.distribution,
          series: options.series,
          isCopy: options.copy,
          dryRun: options.dryRun,
        });
        const told = closings.filter((each) => each.outcome === "closed");
        if (told.length > 0) tell(told, options);
      } catch (error) {
        note(`palimpsest: ${file}: ${(error as Error).message}`);
      }
    }
    if (options.once) break;
    await wait(wholeNumber(options.interval, 300) * 1000, undefined, { signal: stop.signal }).catch(() => {});
  }
  return 0;
}
