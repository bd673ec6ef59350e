// Who sees a record. One rule, used by every way to a record: page, search, count, API, feed, export and mail.
import { type RawBuilder, type SqlBool, sql } from "kysely";
import { MissingRecordError } from "../errors.ts";
import type { Bug } from "../store/schema.ts";
import type { Actor, Db } from "./people.ts";

/**
 * The condition under which `bug` is seen: public, or the viewer (or a team of the viewer) reported it, is subscribed
 * to it, is assigned one of its tasks, or supervises or owns what one of its tasks is about.
 */
export function seenBy(actor: Actor | undefined): RawBuilder<SqlBool> {
  if (actor === undefined) return sql`bug.information_type in ('Public', 'Public Security')`;
  if (actor.isAll) return sql`true`;
  const mine = sql.join(actor.identities);
  return sql`(bug.information_type in ('Public', 'Public Security') or bug.owner_id in (${mine})
    or exists (select from subscription s where s.bug_id = bug.id and s.person_id in (${mine}))
    or exists (select from bug_task t join pillar p on p.id = t.pillar_id
      left join package k on k.pillar_id = t.pillar_id and k.name = t.package where t.bug_id = bug.id
      and (t.assignee_id in (${mine}) or p.owner_id in (${mine}) or p.supervisor_id in (${mine})
        or p.driver_id in (${mine}) or k.supervisor_id in (${mine}))))`;
}

export const BUG_COLUMNS = [
  "bug.id",
  "bug.title",
  "bug.description",
  "bug.original_description",
  "bug.information_type",
  "bug.owner_id",
  "bug.duplicate_of",
  "bug.date_created",
  "bug.date_last_updated",
  "bug.date_last_message",
  "bug.date_made_private",
  "bug.who_made_private",
  "bug.latest_patch_uploaded",
  "bug.heat",
  "bug.message_count",
  "bug.users_affected_count",
  "bug.users_unaffected_count",
  "bug.number_of_duplicates",
  "bug.tags",
  "bug.lock_status",
  "bug.lock_reason",
  "bug.revision",
  "bug.signature",
  "bug.cause",
] as const;

/** Any number a request may name that is no bug's. */
export function isBugNumber(id: number): boolean {
  return Number.isInteger(id) && id > 0 && id < 2 ** 31;
}

/** @throws MissingRecordError also for a record that the viewer may not see */
export async function readBug(db: Db, actor: Actor | undefined, id: number): Promise<Bug> {
  const bug = isBugNumber(id)
    ? await db.selectFrom("bug").select(BUG_COLUMNS).where("bug.id", "=", id).where(seenBy(actor)).executeTakeFirst()
    : undefined;
  if (bug === undefined) throw new MissingRecordError(`bug ${id}`);
  return bug;
}

/** Of these bugs those that the viewer sees, in the order of their numbers. */
export async function readBugs(db: Db, actor: Actor | undefined, ids: readonly number[]): Promise<Bug[]> {
  if (ids.length === 0) return [];
  return db
    .selectFrom("bug")
    .select(BUG_COLUMNS)
    .where("bug.id", "in", [...ids])
    .where(seenBy(actor))
    .orderBy("bug.id")
    .execute();
}
