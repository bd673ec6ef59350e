// The Janitor's main work: a published package whose changelog names a record releases its fix. Each closing is told once,
// by a row that only one of several processes can write.

import { isBugNumber } from "../model/access.ts";
import { type Change, changeBug } from "../model/change.ts";
import { addMessage } from "../model/messages.ts";
import { type Actor, type Db, janitor } from "../model/people.ts";
import { ensurePillar, ensureSeries, findPillar, findSeries, targetName, targetsOf } from "../model/targets.ts";
import { editTask, isTaskOf, tasksOf } from "../model/tasks.ts";
import { recordVersions } from "../model/versions.ts";
import { STATUS } from "../model/words.ts";
import type { Store } from "../store/open.ts";
import type { BugTask, Pillar, Series } from "../store/schema.ts";
import type { ChangelogEntry } from "./changelog.ts";

export interface Closing {
  readonly bug: number;
  readonly package: string;
  readonly version: string;
  readonly series: string;
  /** closed: now; was-released: its status said so already; before: this changelog did it in an earlier run */
  readonly outcome: "closed" | "was-released" | "before" | "no-task" | "no-record";
  /** "linux (Ubuntu Oneiric)" */
  readonly task?: string;
}

export interface CloseOptions {
  /** "ubuntu", "debian": without it the series' names tell */
  readonly distribution?: string;
  /** a series for changelogs that name none */
  readonly series?: string;
  /** copied packages: "Closes:" counts beside "LP:", as in Launchpad's copy path */
  readonly isCopy?: boolean;
  readonly dryRun?: boolean;
}

const DEBIAN_SUITES =
  /^(unstable|sid|testing|stable|oldstable|experimental|frozen|woody|sarge|etch|lenny|squeeze|wheezy|jessie|stretch|buster|bullseye|bookworm|trixie|forky|duke)(-|$)/;
/** What is not yet for everybody closes nothing. */
const NOT_RELEASED = /-(proposed|backports)$|^UNRELEASED$/i;

/** Closes what the entries name, the oldest first: the first version that fixes a record is the one that is told. */
export async function closeFromEntries(
  store: Store,
  entries: readonly ChangelogEntry[],
  options: CloseOptions = {},
): Promise<Closing[]> {
  const actor = await janitor(store);
  const out: Closing[] = [];
  if (!options.dryRun) await rememberVersions(store, entries, options);
  for (const entry of [...entries].reverse()) {
    for (const suite of options.series ? [options.series] : entry.distributions) {
      if (NOT_RELEASED.test(suite)) continue;
      const name = suite.replace(/-(updates|security|release)$/, "");
      const pillar = await pillarFor(store, name, options.distribution);
      for (const bug of numbersOf(entry, pillar, options)) {
        out.push(await closeOne(store, actor, entry, pillar, name, bug, options.dryRun ?? false));
      }
    }
  }
  return out;
}

/** Debian's changelogs close by "Closes:", Ubuntu's by "LP:"; a copy from one to the other by both. */
function numbersOf(entry: ChangelogEntry, pillar: Pillar, options: CloseOptions): number[] {
  const both = options.isCopy === true;
  const numbers = pillar.name === "debian" ? [...entry.closes] : [...entry.launchpad];
  if (both) numbers.push(...entry.closes, ...entry.launchpad);
  return [...new Set(numbers)].filter(isBugNumber).sort((a, b) => a - b);
}

async function pillarFor(store: Store, series: string, distribution: string | undefined): Promise<Pillar> {
  const name = distribution ?? (DEBIAN_SUITES.test(series) ? "debian" : "ubuntu");
  return (await findPillar(store.db, name)) ?? ensurePillar(store, "distribution", name);
}

async function rememberVersions(
  store: Store,
  entries: readonly ChangelogEntry[],
  options: CloseOptions,
): Promise<void> {
  const first = entries[0];
  const suite = options.series ?? first?.distributions[0];
  if (first === undefined || suite === undefined) return;
  const pillar = await pillarFor(store, suite.replace(/-\w+$/, ""), options.distribution);
  const own = entries.filter((entry) => entry.source === first.source);
  await recordVersions(
    store,
    pillar,
    first.source,
    own.map((entry) => entry.version),
  );
}

async function closeOne(
  store: Store,
  actor: Actor,
  entry: ChangelogEntry,
  pillar: Pillar,
  seriesName: string,
  bug: number,
  dryRun: boolean,
): Promise<Closing> {
  const closing = { bug, package: entry.source, version: entry.version, series: seriesName };
  const { db } = store;
  const row = await db.selectFrom("bug").select("id").where("id", "=", bug).executeTakeFirst();
  if (row === undefined) return { ...closing, outcome: "no-record" };
  const series = await seriesFor(store, pillar, seriesName, dryRun);
  const seen = await taskFor(db, bug, pillar, series, entry.source);
  if (seen === undefined) return { ...closing, outcome: "no-task" };
  const task = targetName((await targetsOf(db, [seen])).get(seen.id)!);
  if (dryRun) return { ...closing, task, outcome: seen.status === STATUS.FixReleased ? "was-released" : "closed" };
  const outcome = await changeBug(store, actor, bug, async (change) => {
    const isNew = await claim(change, pillar, seriesName, entry);
    if (!isNew) return "before";
    const current = await taskFor(change.db, bug, pillar, series, entry.source);
    if (current === undefined) return "no-task";
    if (current.status === STATUS.FixReleased) return "was-released";
    await editTask(change, current.id, { status: "Fix Released" });
    await addMessage(change, { content: closingComment(entry), subject: `Re: ${change.bug.title}` });
    return "closed";
  });
  return { ...closing, task, outcome };
}

/** Exactly what Launchpad's Janitor writes. */
export function closingComment({ source, version, text }: ChangelogEntry): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const clean = text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "\ufffd");
  return `This bug was fixed in the package ${source} - ${version}\n\n---------------\n${clean}`;
}

/** @returns false when this version's closing of this record was done before */
async function claim(change: Change, pillar: Pillar, series: string, entry: ChangelogEntry): Promise<boolean> {
  const made = await change.db
    .insertInto("closure")
    .values({
      bug_id: change.bug.id,
      pillar_id: pillar.id,
      series,
      package: entry.source,
      version: entry.version,
      date: change.now,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning("bug_id")
    .executeTakeFirst();
  if (made === undefined) return false;
  await change.db
    .insertInto("bug_version")
    .values({
      bug_id: change.bug.id,
      pillar_id: pillar.id,
      package: entry.source,
      version: entry.version,
      state: "fixed",
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return true;
}

async function seriesFor(store: Store, pillar: Pillar, name: string, dryRun: boolean): Promise<Series | undefined> {
  const known = await findSeries(store.db, pillar, name);
  if (known !== undefined || dryRun || !/^[a-z0-9][a-z0-9+.-]*$/.test(name)) return known;
  return ensureSeries(store, pillar, name);
}

/**
 * The package's task in that series; if there is none, the general task, unless the record has a task for the current
 * series: then the general task is that one, and another series' upload does not touch it.
 */
async function taskFor(
  db: Db,
  bug: number,
  pillar: Pillar,
  series: Series | undefined,
  name: string,
): Promise<BugTask | undefined> {
  const tasks = await tasksOf(db, bug);
  const inSeries = series && tasks.find((task) => isTaskOf(task, { pillar, series, package: name }));
  if (inSeries) return inSeries;
  const current = pillar.current_series_id;
  const hasCurrent =
    current !== null &&
    tasks.some((task) => task.pillar_id === pillar.id && task.package === name && task.series_id === current);
  return hasCurrent ? undefined : tasks.find((task) => isTaskOf(task, { pillar, series: undefined, package: name }));
}
