// A record as a whole: made, described anew, tagged, hidden, counted as a duplicate.
import { sql, type Transaction } from "kysely";
import { ForbiddenError, InvalidError } from "../errors.ts";
import type { Store } from "../store/open.ts";
import type { Schema } from "../store/schema.ts";
import { readBug } from "./access.ts";
import { type Change, changeBug, countHeat, writeActivity } from "./change.ts";
import type { Actor } from "./people.ts";
import type { Target } from "./targets.ts";
import { checkName, checkText, INFORMATION_TYPES, isPrivate, oneOf, STATUS, UNDECIDED } from "./words.ts";

export const LONGEST_TITLE = 200;
export const LONGEST_DESCRIPTION = 50_000;

export interface NewBug {
  readonly title: string;
  readonly description: string;
  readonly targets: readonly Target[];
  readonly tags?: readonly string[];
  readonly informationType?: string;
  /** what it is recognised by, and the facts that it was made of */
  readonly signature?: string;
  readonly cause?: unknown;
  /** import: its number elsewhere, and when it was reported */
  readonly id?: number;
  readonly date?: Date;
  readonly quiet?: boolean;
}

/** @throws InvalidError for values that break the model's rules */
export async function createBug(store: Store, actor: Actor | undefined, wanted: NewBug): Promise<number> {
  if (actor === undefined) throw new ForbiddenError("You must be logged in to report a bug.");
  const title = checkText("title", wanted.title, LONGEST_TITLE).trim();
  const description = checkText("description", wanted.description, LONGEST_DESCRIPTION);
  const informationType = oneOf("information_type", wanted.informationType ?? "Public", INFORMATION_TYPES);
  const tags = checkTags(wanted.tags ?? []);
  if (wanted.targets.length === 0) throw new InvalidError("target", "Required input is missing.");
  const date = wanted.date ?? store.now();
  return store.db.transaction().execute(async (trx) => {
    const { id } = await trx
      .insertInto("bug")
      .values({
        ...(wanted.id === undefined ? {} : { id: wanted.id }),
        title,
        description,
        original_description: description,
        information_type: informationType,
        owner_id: actor.person.id,
        date_created: date,
        date_last_updated: date,
        date_last_message: date,
        ...(isPrivate(informationType) ? { date_made_private: date, who_made_private: actor.person.id } : {}),
        message_count: 1,
        users_affected_count: 1,
        tags,
        signature: wanted.signature ?? null,
        cause: wanted.cause === undefined ? null : JSON.stringify(wanted.cause),
      })
      .returning("id")
      .execute()
      .then((rows) => rows[0]!);
    if (wanted.id !== undefined) await skipNumbers(trx);
    const person = actor.person.id;
    await trx
      .insertInto("message")
      .values({ bug_id: id, index: 0, owner_id: person, subject: title, content: description, date_created: date })
      .execute();
    for (const target of wanted.targets) await insertTask(trx, id, target, person, date);
    await trx
      .insertInto("subscription")
      .values({ bug_id: id, person_id: person, subscribed_by: person, level: "Discussion", date_created: date })
      .execute();
    await trx.insertInto("affected").values({ bug_id: id, person_id: person, affected: true }).execute();
    await writeActivity(trx, id, person, date, [{ what: "bug", message: "added bug" }]);
    await indexWords(trx, id);
    await countHeat(trx, id);
    if (!wanted.quiet) {
      const changes = JSON.stringify([{ what: "bug", new: title, message: "added bug" }]);
      await trx
        .insertInto("event")
        .values({ bug_id: id, person_id: person, date, kind: "bug:created", changes })
        .execute();
    }
    return id;
  });
}

/** A number that was given keeps later ones clear of it. */
async function skipNumbers(trx: Transaction<Schema>): Promise<void> {
  await sql`select setval(pg_get_serial_sequence('bug', 'id'), (select max(id) from bug))`.execute(trx);
}

export async function insertTask(
  trx: Transaction<Schema>,
  bug_id: number,
  { pillar, series, package: name }: Target,
  owner_id: number,
  date_created: Date,
): Promise<number> {
  if (name !== undefined) {
    await trx
      .insertInto("package")
      .values({ pillar_id: pillar.id, name })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  const row = await trx
    .insertInto("bug_task")
    .values({
      bug_id,
      pillar_id: pillar.id,
      series_id: series?.id ?? null,
      package: name ?? null,
      status: STATUS.New,
      importance: UNDECIDED,
      owner_id,
      date_created,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  return row.id;
}

/** What a search looks at: the title counts most, then the description, then what was said. */
export async function indexWords(trx: Transaction<Schema>, id: number): Promise<void> {
  // A tsvector holds at most 1 MiB: the newest comments of an endless record are left out, not refused.
  await sql`update bug set words = setweight(to_tsvector('english', title), 'A')
    || setweight(to_tsvector('english', left(description, 50000)), 'B')
    || setweight(to_tsvector('english', left(coalesce((select string_agg(left(content, 20000), ' ' order by index)
        from message where bug_id = bug.id and index > 0 and visible and date_deleted is null), ''), 200000)), 'D')
    where id = ${id}`.execute(trx);
}

function checkTags(tags: readonly string[]): string[] {
  if (tags.length > 100) throw new InvalidError("tags", "At most 100 tags are allowed.");
  return [...new Set(tags.map((tag) => checkName("tags", tag.toLowerCase())))].sort();
}

export interface BugEdit {
  readonly title?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly informationType?: string;
  readonly duplicateOf?: number | null;
  readonly lockStatus?: string;
  readonly lockReason?: string | null;
}

/** Applies what was given inside a change. */
export async function editBug(change: Change, edit: BugEdit): Promise<void> {
  const { bug, db } = change;
  if (edit.title !== undefined) {
    const title = checkText("title", edit.title, LONGEST_TITLE).trim();
    if (title !== bug.title) {
      change.log("summary", bug.title, title);
      await change.update({ title });
    }
  }
  if (edit.description !== undefined && edit.description !== bug.description) {
    const description = checkText("description", edit.description, LONGEST_DESCRIPTION);
    change.log("description", bug.description, description);
    await change.update({ description });
  }
  if (edit.tags !== undefined) {
    const tags = checkTags(edit.tags);
    if (tags.join(" ") !== bug.tags.join(" ")) {
      change.log("tags", bug.tags.join(" "), tags.join(" "));
      await change.update({ tags });
    }
  }
  if (edit.informationType !== undefined) await setInformationType(change, edit.informationType);
  if (edit.duplicateOf !== undefined) await setDuplicate(change, edit.duplicateOf);
  if (edit.title !== undefined || edit.description !== undefined) await indexWords(db, bug.id);
}

async function setInformationType(change: Change, value: string): Promise<void> {
  const { bug, now, actor } = change;
  const type = oneOf("information_type", value, INFORMATION_TYPES);
  if (type === bug.information_type) return;
  change.log("information type", bug.information_type, type);
  const was = isPrivate(bug.information_type);
  await change.update({
    information_type: type,
    ...(isPrivate(type)
      ? was
        ? {}
        : { date_made_private: now, who_made_private: actor.person.id }
      : { date_made_private: null, who_made_private: null }),
  });
}

/** A duplicate is of a bug that is none itself; those of a bug that becomes a duplicate move along. */
async function setDuplicate(change: Change, master: number | null): Promise<void> {
  const { bug, db, actor } = change;
  if (master === bug.duplicate_of) return;
  if (master !== null) {
    if (master === bug.id) throw new InvalidError("duplicate_of", "Bug cannot be a duplicate of itself.");
    const other = await readBug(db, actor, master);
    if (other.duplicate_of !== null) {
      throw new InvalidError(
        "duplicate_of",
        `Bug ${master} is already a duplicate of bug ${other.duplicate_of}. You can only mark a bug report as duplicate of one that isn't a duplicate itself.`,
      );
    }
    await db.updateTable("bug").set({ duplicate_of: master }).where("duplicate_of", "=", bug.id).execute();
  }
  const before = bug.duplicate_of;
  if (master === null) change.log("removed duplicate marker", String(before), null);
  else if (before === null) change.log("marked as duplicate", null, String(master));
  else change.log("changed duplicate marker", String(before), String(master));
  await change.update({ duplicate_of: master });
  for (const id of [bug.id, before, master]) if (id !== null) await countDuplicates(db, id);
}

async function countDuplicates(db: Transaction<Schema>, id: number): Promise<void> {
  await sql`update bug set number_of_duplicates = (select count(*) from bug d where d.duplicate_of = bug.id)::integer,
    revision = revision + 1 where id = ${id}`.execute(db);
  await countHeat(db, id);
}

/** "affects me": counted once a person. */
export async function markAffected(
  store: Store,
  actor: Actor | undefined,
  id: number,
  affected: boolean,
): Promise<void> {
  await changeBug(store, actor, id, async (change) => {
    const { db, bug } = change;
    const person_id = change.actor.person.id;
    const old = await db
      .selectFrom("affected")
      .select("affected")
      .where("bug_id", "=", id)
      .where("person_id", "=", person_id)
      .executeTakeFirst();
    if (old?.affected === affected) return;
    await db
      .insertInto("affected")
      .values({ bug_id: id, person_id, affected })
      .onConflict((conflict) => conflict.columns(["bug_id", "person_id"]).doUpdateSet({ affected }))
      .execute();
    await sql`update bug set
      users_affected_count = (select count(*) from affected a where a.bug_id = bug.id and a.affected)::integer,
      users_unaffected_count = (select count(*) from affected a where a.bug_id = bug.id and not a.affected)::integer
      where id = ${bug.id}`.execute(db);
    change.log("affects me", old === undefined ? null : String(old.affected), String(affected));
  });
}
