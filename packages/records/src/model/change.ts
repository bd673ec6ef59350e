// Every change of a record goes through here: one transaction that locks the record, and ends with the activity
// entries, the new revision, the heat and the event that hooks and mail are sent from. There is no other way to write.
import { sql, type Transaction } from "kysely";
import { ForbiddenError, StaleError } from "../errors.ts";
import type { Store } from "../store/open.ts";
import type { Bug, Schema } from "../store/schema.ts";
import { readBug } from "./access.ts";
import type { Actor } from "./people.ts";

export interface ActivityEntry {
  /** "linux (Ubuntu): status", "description", "tags" */
  readonly what: string;
  readonly old?: string | null;
  readonly new?: string | null;
  readonly message?: string | null;
}

export class Change {
  readonly entries: ActivityEntry[] = [];
  constructor(
    readonly store: Store,
    readonly db: Transaction<Schema>,
    readonly actor: Actor,
    /** as it was when the change began */
    readonly bug: Bug,
    readonly now: Date,
  ) {}

  log(what: string, old?: string | null, value?: string | null, message?: string | null): void {
    this.entries.push({ what, old, new: value, message });
  }

  async update(values: Partial<Omit<Bug, "cause" | "id">> & { cause?: string }): Promise<void> {
    await this.db.updateTable("bug").set(values).where("id", "=", this.bug.id).execute();
  }
}

export interface ChangeOptions {
  /** Called with the locked record before anything is written. @throws StaleError */
  readonly check?: (db: Transaction<Schema>) => Promise<void>;
  /** import and history: the time that it happened */
  readonly date?: Date;
  /** no event for hooks and mail: what is imported happened long ago */
  readonly quiet?: boolean;
}

/**
 * @throws MissingRecordError when the actor may not see the record
 * @throws ForbiddenError without an actor
 */
export async function changeBug<T>(
  store: Store,
  actor: Actor | undefined,
  id: number,
  work: (change: Change) => Promise<T>,
  options: ChangeOptions = {},
): Promise<T> {
  if (actor === undefined) throw new ForbiddenError("You must be logged in to change a record.");
  return store.db.transaction().execute(async (trx) => {
    await readBug(trx, actor, id);
    await sql`select from bug where id = ${id} for update`.execute(trx);
    const bug = await readBug(trx, actor, id); // as it is now that nobody else can change it
    await options.check?.(trx);
    const change = new Change(store, trx, actor, bug, options.date ?? store.now());
    const result = await work(change);
    await finish(change, options);
    return result;
  });
}

async function finish({ db, bug, actor, now, entries }: Change, options: ChangeOptions): Promise<void> {
  if (entries.length === 0) return;
  await writeActivity(db, bug.id, actor.person.id, now, entries);
  await sql`update bug set revision = revision + 1, date_last_updated = greatest(date_last_updated, ${now}) where id = ${bug.id}`.execute(
    db,
  );
  await countHeat(db, bug.id);
  if (options.quiet) return;
  await db
    .insertInto("event")
    .values({
      bug_id: bug.id,
      person_id: actor.person.id,
      date: now,
      kind: "bug:changed",
      changes: JSON.stringify(entries),
    })
    .execute();
}

export async function writeActivity(
  db: Transaction<Schema>,
  bug_id: number,
  person_id: number,
  date: Date,
  entries: readonly ActivityEntry[],
): Promise<void> {
  await db
    .insertInto("activity")
    .values(
      entries.map(({ what, old, new: value, message }) => ({
        bug_id,
        person_id,
        date,
        what,
        old_value: old ?? null,
        new_value: value ?? null,
        message: message ?? null,
      })),
    )
    .execute();
}

/**
 * Launchpad's heat: by information type, 6 a duplicate, 4 a user affected, 2 a distinct subscriber of the bug and its
 * duplicates. It does not decay.
 */
export async function countHeat(db: Transaction<Schema>, id: number): Promise<void> {
  await sql`update bug set heat = case information_type when 'Public' then 0 when 'Public Security' then 250
      when 'Private Security' then 400 else 150 end
    + 6 * number_of_duplicates + 4 * users_affected_count
    + 2 * (select count(distinct s.person_id) from subscription s
        where s.bug_id = bug.id or s.bug_id in (select d.id from bug d where d.duplicate_of = bug.id))::integer
    where id = ${id}`.execute(db);
}

/** Compares what a writer read with what is there. */
export function checkRevision(read: string, current: string): void {
  if (read !== current) throw new StaleError();
}
