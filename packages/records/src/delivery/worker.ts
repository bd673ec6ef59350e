// Sends what changes call for: webhooks and mail. Events are written with the change; here they become one delivery for
// each receiver, and each delivery is tried until it is taken: at least once, also over a crash.
import { createHmac } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { sql } from "kysely";
import { readBug } from "../model/access.ts";
import { actorFor, personById } from "../model/people.ts";
import type { Store } from "../store/open.ts";
import type { DeliveryOptions, Due } from "./due.ts";
import { sendMail } from "./mail.ts";

const MOST_ATTEMPTS = 12;
/** 1 s, 4 s, 16 s, … up to an hour */
const delayAfter = (attempts: number): number => Math.min(1000 * 4 ** attempts, 3_600_000);

export async function deliverForever(options: DeliveryOptions): Promise<void> {
  const { signal, pollMs = 1000 } = options;
  while (!signal.aborted) {
    const done = await deliverOnce(options).catch(() => 0); // the store is away: the next round tries again
    if (done === 0) await wait(pollMs, undefined, { signal }).catch(() => {});
  }
}

/** One round. @returns how many deliveries were tried */
export async function deliverOnce(options: DeliveryOptions): Promise<number> {
  await expand(options);
  const { store } = options;
  let tried = 0;
  for (;;) {
    const id = await takeDue(store);
    if (id === undefined) return tried;
    tried++;
    await attempt(options, id);
  }
}

/** Events become deliveries: to hooks that want them, and to subscribers who may see the record. */
async function expand({ store, smtp }: DeliveryOptions): Promise<void> {
  await store.db.transaction().execute(async (trx) => {
    const events = await trx
      .selectFrom("event")
      .selectAll()
      .where("expanded", "=", false)
      .orderBy("id")
      .limit(100)
      .forUpdate()
      .skipLocked()
      .execute();
    for (const event of events) {
      const now = store.now();
      // A hook gets what its owner may see.
      const hooks = await trx.selectFrom("webhook").selectAll().where("active", "=", true).execute();
      for (const hook of hooks) {
        const owner = await actorFor({ ...store, db: trx }, await personById(trx, hook.owner_id));
        const bug = await readBug(trx, owner, event.bug_id).catch(() => undefined);
        const tasks = await trx.selectFrom("bug_task").select("pillar_id").where("bug_id", "=", event.bug_id).execute();
        const isWanted = hook.pillar_id === null || tasks.some((task) => task.pillar_id === hook.pillar_id);
        if (bug === undefined || !isWanted) continue;
        await trx
          .insertInto("delivery")
          .values({ event_id: event.id, kind: "hook", webhook_id: hook.id, date_next: now })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      }
      if (smtp !== undefined) {
        await sql`insert into delivery (event_id, kind, person_id, date_next)
          select distinct ${event.id}::integer, 'mail', p.id, ${now}::timestamptz from person p
          left join team_member m on m.person_id = p.id
          where p.email is not null and p.id <> ${event.person_id} and not p.is_team and (
            exists (select from subscription s where s.bug_id = ${event.bug_id} and not s.muted and s.person_id in (p.id, m.team_id))
            or exists (select from structural_subscription s join bug_task t on t.pillar_id = s.pillar_id
              and (s.package is null or s.package = t.package) where t.bug_id = ${event.bug_id} and s.person_id in (p.id, m.team_id)))
          on conflict do nothing`.execute(trx);
      }
      await trx.updateTable("event").set({ expanded: true }).where("id", "=", event.id).execute();
    }
  });
}

/** Takes one delivery for some minutes: another process, or this one after a crash, gets it when the time is over. */
async function takeDue(store: Store): Promise<number | undefined> {
  const now = store.now();
  const lease = new Date(now.getTime() + 120_000);
  const { rows } = await sql<{ id: number }>`update delivery set date_next = ${lease}, attempts = attempts + 1
    where id = (select id from delivery where date_done is null and not gave_up and date_next <= ${now}
      order by date_next, id limit 1 for update skip locked) returning id`.execute(store.db);
  return rows[0]?.id;
}

async function attempt(options: DeliveryOptions, id: number): Promise<void> {
  const { store } = options;
  const row = await store.db
    .selectFrom("delivery")
    .innerJoin("event", "event.id", "delivery.event_id")
    .select(["delivery.kind", "delivery.webhook_id", "delivery.person_id", "delivery.attempts"])
    .select([
      "event.id as event_id",
      "event.bug_id",
      "event.kind as event_kind",
      "event.changes",
      "event.date",
      "event.person_id as by",
    ])
    .where("delivery.id", "=", id)
    .executeTakeFirstOrThrow();
  let error: string | undefined;
  try {
    if (row.kind === "hook") await sendHook(options, id, row);
    else await sendMail(options, id, row);
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.message : String(thrown);
  }
  const now = store.now();
  const values =
    error === undefined
      ? { date_done: now, error: null }
      : {
          error: error.slice(0, 500),
          gave_up: row.attempts >= MOST_ATTEMPTS,
          date_next: new Date(now.getTime() + delayAfter(row.attempts)),
        };
  await store.db.updateTable("delivery").set(values).where("id", "=", id).execute();
}

async function sendHook({ store, site, signal }: DeliveryOptions, id: number, due: Due): Promise<void> {
  const hook = await store.db
    .selectFrom("webhook")
    .selectAll()
    .where("id", "=", due.webhook_id)
    .executeTakeFirstOrThrow();
  const owner = await actorFor(store, await personById(store.db, hook.owner_id));
  const bug = await readBug(store.db, owner, due.bug_id).catch(() => undefined);
  if (bug === undefined) return; // became private meanwhile
  const by = await personById(store.db, due.by);
  const body = JSON.stringify({
    event: due.event_kind,
    id: due.event_id,
    date: due.date.toISOString(),
    bug: { id: bug.id, title: bug.title, url: `${site}/bugs/${bug.id}` },
    by: by.name,
    changes: due.changes,
  });
  const response = await fetch(hook.url, {
    method: "POST",
    body,
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(30_000)]),
    headers: {
      "content-type": "application/json",
      "user-agent": "palimpsest",
      "x-palimpsest-event": due.event_kind,
      "x-palimpsest-delivery": String(id),
      "x-hub-signature-256": `sha256=${createHmac("sha256", hook.secret).update(body).digest("hex")}`,
    },
  });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
}
