// What a fresh store knows: the Janitor, the two distributions whose changelogs close bugs, and their bug trackers.
import type { Kysely } from "kysely";
import type { Schema } from "./schema.ts";

export const JANITOR = "janitor";
/** Owns what nobody owns. */
export const REGISTRY = "registry";

export async function seed(db: Kysely<Schema>, date: Date): Promise<void> {
  const there = await db.selectFrom("person").select("id").where("name", "=", JANITOR).executeTakeFirst();
  if (there !== undefined) return;
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto("person")
      .values([
        { name: JANITOR, display_name: "Launchpad Janitor", is_admin: true, date_created: date },
        { name: REGISTRY, display_name: "Registry Administrators", is_team: true, date_created: date },
      ])
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const owner = await trx.selectFrom("person").select("id").where("name", "=", REGISTRY).executeTakeFirstOrThrow();
    const distribution = (name: string, display_name: string) =>
      ({ kind: "distribution", name, display_name, owner_id: owner.id, date_created: date }) as const;
    await trx
      .insertInto("pillar")
      .values([distribution("ubuntu", "Ubuntu"), distribution("debian", "Debian")])
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const tracker = (name: string, title: string, base_url: string, kind: string) =>
      ({ name, title, base_url, kind, owner_id: owner.id }) as const;
    await trx
      .insertInto("tracker")
      .values([
        tracker("debbugs", "Debian Bug tracker", "https://bugs.debian.org", "Debbugs"),
        tracker("linux-kernel-bugs", "Linux Kernel Bug Tracker", "https://bugzilla.kernel.org", "Bugzilla"),
      ])
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  });
}
