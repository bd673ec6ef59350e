// The store's shape, one numbered step after the other. A step that has landed is never changed: a store in the field
// has already run it. Plain SQL, since both back ends are PostgreSQL (PGlite is PostgreSQL compiled to WebAssembly).
import { type Kysely, sql } from "kysely";
import { MODEL } from "./migrations/001-model.ts";
import type { Schema } from "./schema.ts";

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly statements: readonly string[];
}

const MIGRATIONS: readonly Migration[] = [{ number: 1, name: "model", statements: MODEL }];

/** Any number that no other user of the database takes as an advisory lock: "palimpse" in ASCII. */
const MIGRATION_LOCK = "8097867751404372837";

/** Brings a store to the newest shape; two processes that start at once do it once. */
export async function migrate(db: Kysely<Schema>): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${sql.raw(MIGRATION_LOCK)})`.execute(trx);
    await sql`create table if not exists migration (
      number integer primary key, name text not null, applied_at timestamptz not null default now())`.execute(trx);
    const done = new Set((await trx.selectFrom("migration").select("number").execute()).map((row) => row.number));
    const newest = MIGRATIONS.at(-1)!.number;
    const later = [...done].filter((number) => number > newest);
    if (later.length > 0) {
      throw new Error(`the store was made by a newer palimpsest (migration ${Math.max(...later)}, known is ${newest})`);
    }
    for (const { number, name, statements } of MIGRATIONS) {
      if (done.has(number)) continue;
      for (const statement of statements) await sql.raw(statement).execute(trx);
      await trx.insertInto("migration").values({ number, name }).execute();
    }
  });
}
