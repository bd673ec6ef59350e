// What ties a record to people and to other places: subscriptions, nominations for series, watches of other trackers,
// CVEs.
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import type { Nomination, Person, Series, Tracker } from "../store/schema.ts";
import type { Change } from "./change.ts";
import { type Db, isOneOf } from "./people.ts";
import { rolesFor, type Target, targetName, targetsOf } from "./targets.ts";
import { addTask, tasksOf } from "./tasks.ts";
import { oneOf, SUBSCRIPTION_LEVELS } from "./words.ts";

export async function subscribe(change: Change, person: Person, level = "Discussion"): Promise<void> {
  const { db, bug, actor, now } = change;
  oneOf("level", level, SUBSCRIPTION_LEVELS);
  const old = await db
    .selectFrom("subscription")
    .select("level")
    .where("bug_id", "=", bug.id)
    .where("person_id", "=", person.id)
    .executeTakeFirst();
  if (old?.level === level) return;
  await db
    .insertInto("subscription")
    .values({ bug_id: bug.id, person_id: person.id, subscribed_by: actor.person.id, level, date_created: now })
    .onConflict((conflict) => conflict.columns(["bug_id", "person_id"]).doUpdateSet({ level }))
    .execute();
  change.log(
    "bug",
    null,
    null,
    old ? `changed subscription of ${person.display_name}` : `added subscriber ${person.display_name}`,
  );
}

export async function unsubscribe(change: Change, person: Person): Promise<void> {
  const { db, bug, actor } = change;
  const row = await db
    .selectFrom("subscription")
    .selectAll()
    .where("bug_id", "=", bug.id)
    .where("person_id", "=", person.id)
    .executeTakeFirst();
  if (row === undefined) return;
  if (!isOneOf(actor, person.id, row.subscribed_by, person.owner_id)) {
    throw new ForbiddenError(
      `${actor.person.display_name} does not have permission to unsubscribe ${person.display_name}.`,
    );
  }
  await db.deleteFrom("subscription").where("id", "=", row.id).execute();
  change.log("bug", null, null, `removed subscriber ${person.display_name}`);
}

export async function nominate(change: Change, target: Target): Promise<number> {
  const { db, bug, actor, now } = change;
  const series = target.series;
  if (series === undefined) throw new InvalidError("target", "Only series can be nominated.");
  const old = await db
    .selectFrom("nomination")
    .select("id")
    .where("bug_id", "=", bug.id)
    .where("series_id", "=", series.id)
    .executeTakeFirst();
  if (old !== undefined) throw new InvalidError("target", `This bug cannot be nominated for ${targetName(target)}.`);
  const roles = await rolesFor(db, actor, target);
  if (!roles.isSupervisor && roles.hasSupervisor) {
    throw new ForbiddenError("Only bug supervisors or owners can nominate bugs.");
  }
  const row = await db
    .insertInto("nomination")
    .values({ bug_id: bug.id, series_id: series.id, status: "Nominated", owner_id: actor.person.id, date_created: now })
    .returning("id")
    .executeTakeFirstOrThrow();
  change.log("nominated for series", null, targetName({ ...target, package: undefined }));
  return row.id;
}

/** Approval makes the series' tasks: one for each package of the distribution that the record is about. */
export async function decide(change: Change, nominationId: number, status: "Approved" | "Declined"): Promise<void> {
  const { db, bug, actor, now } = change;
  const row = await nominationOf(db, bug.id, nominationId);
  const { series, pillar } = await seriesAndPillar(db, row.series_id);
  const roles = await rolesFor(db, actor, { pillar, series, package: undefined });
  if (!roles.isDriver && !(status === "Approved" && roles.isSupervisor)) {
    throw new ForbiddenError(`Only drivers of ${series.display_name} may decide on nominations.`);
  }
  if (row.status === "Approved") throw new InvalidError("", "Cannot change the status of an approved nomination.");
  await db
    .updateTable("nomination")
    .set({ status, decider_id: actor.person.id, date_decided: now })
    .where("id", "=", row.id)
    .execute();
  change.log("nomination", row.status, status, `${pillar.display_name} ${series.display_name}`);
  if (status === "Declined") return;
  const tasks = await tasksOf(db, bug.id);
  const general = tasks.filter((task) => task.pillar_id === pillar.id && task.series_id === null);
  for (const target of (await targetsOf(db, general)).values()) await addTask(change, { ...target, series });
}

async function nominationOf(db: Db, bugId: number, id: number): Promise<Nomination> {
  const row = await db
    .selectFrom("nomination")
    .selectAll()
    .where("id", "=", id)
    .where("bug_id", "=", bugId)
    .executeTakeFirst();
  if (row === undefined) throw new MissingRecordError(`nomination ${id} of bug ${bugId}`);
  return row;
}

export async function seriesAndPillar(db: Db, seriesId: number) {
  const series: Series = await db.selectFrom("series").selectAll().where("id", "=", seriesId).executeTakeFirstOrThrow();
  const pillar = await db.selectFrom("pillar").selectAll().where("id", "=", series.pillar_id).executeTakeFirstOrThrow();
  return { series, pillar };
}

export async function addWatch(change: Change, tracker: Tracker, remoteBug: string): Promise<number> {
  const { db, bug, actor, now } = change;
  const remote_bug = remoteBug.trim();
  if (!/^[\w.#/+-]{1,200}$/.test(remote_bug)) throw new InvalidError("remote_bug", "Invalid bug number.");
  const values = { bug_id: bug.id, tracker_id: tracker.id, remote_bug, owner_id: actor.person.id, date_created: now };
  const row = await db
    .insertInto("watch")
    .values(values)
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  if (row === undefined) throw new InvalidError("remote_bug", "This bug is already watched.");
  change.log("bug watch added", null, `${tracker.base_url} #${remote_bug}`);
  return row.id;
}

export function checkCve(sequence: string): string {
  const plain = sequence.toUpperCase().replace(/^CVE-/, "");
  if (!/^\d{4}-\d{4,7}$/.test(plain)) throw new InvalidError("cve", `"${sequence.slice(0, 40)}" is no CVE number.`);
  return plain;
}

export async function linkCve(change: Change, sequence: string): Promise<void> {
  const plain = checkCve(sequence);
  const made = await change.db
    .insertInto("cve")
    .values({ bug_id: change.bug.id, sequence: plain })
    .onConflict((conflict) => conflict.doNothing())
    .returning("sequence")
    .executeTakeFirst();
  if (made !== undefined) change.log("cve linked", null, plain);
}

export async function unlinkCve(change: Change, sequence: string): Promise<void> {
  const plain = checkCve(sequence);
  const gone = await change.db
    .deleteFrom("cve")
    .where("bug_id", "=", change.bug.id)
    .where("sequence", "=", plain)
    .returning("sequence")
    .executeTakeFirst();
  if (gone !== undefined) change.log("cve unlinked", plain, null);
}
