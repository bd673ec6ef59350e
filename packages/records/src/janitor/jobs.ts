// The Janitor's two other jobs: records that nobody answered expire, and those that several people have are confirmed.
import { sql } from "kysely";
import { changeBug } from "../model/change.ts";
import { addMessage } from "../model/messages.ts";
import { janitor } from "../model/people.ts";
import { targetName, targetsOf } from "../model/targets.ts";
import { editTask, tasksOf } from "../model/tasks.ts";
import { STATUS } from "../model/words.ts";
import type { Store } from "../store/open.ts";

export interface Job {
  readonly bug: number;
  readonly task: string;
}

const DAY = 24 * 60 * 60 * 1000;
/** Another task in one of these does not keep a record alive. */
const NOT_BLOCKING: readonly number[] = [
  STATUS.Invalid,
  STATUS.IncompleteWithoutResponse,
  STATUS.WontFix,
  STATUS.DoesNotExist,
];

/** Incomplete without an answer for `days`: expired, with Launchpad's sentence. */
export async function expire(store: Store, days = 60): Promise<Job[]> {
  const actor = await janitor(store);
  const before = new Date(store.now().getTime() - days * DAY);
  const { rows } = await sql<{ bug_id: number }>`select distinct t.bug_id from bug_task t
    join bug b on b.id = t.bug_id join pillar p on p.id = t.pillar_id
    where t.status = ${STATUS.IncompleteWithoutResponse} and p.expires and b.date_last_updated <= ${before}
    order by t.bug_id`.execute(store.db);
  const out: Job[] = [];
  for (const { bug_id } of rows) out.push(...(await expireOne(store, actor, bug_id, before, days)));
  return out;
}

async function expireOne(
  store: Store,
  actor: Awaited<ReturnType<typeof janitor>>,
  bug: number,
  before: Date,
  days: number,
): Promise<Job[]> {
  return changeBug(store, actor, bug, async (change) => {
    // Read again under the lock: somebody may have answered meanwhile.
    if (change.bug.date_last_updated > before || change.bug.duplicate_of !== null) return [];
    const tasks = await tasksOf(change.db, bug);
    if (!tasks.every((task) => NOT_BLOCKING.includes(task.status))) return [];
    const targets = await targetsOf(change.db, tasks);
    const out: Job[] = [];
    for (const task of tasks) {
      const target = targets.get(task.id)!;
      const isFree =
        task.assignee_id === null && task.milestone_id === null && task.watch_id === null && target.pillar.expires;
      if (task.status !== STATUS.IncompleteWithoutResponse || !isFree) continue;
      const name = targetName(target);
      await editTask(change, task.id, { status: "Expired" });
      await addMessage(change, {
        content: `[Expired for ${name} because there has been no activity for ${days} days.]`,
      });
      out.push({ bug, task: name });
    }
    return out;
  });
}

/** New, and more than one person is affected: confirmed. */
export async function confirm(store: Store): Promise<Job[]> {
  const actor = await janitor(store);
  const { rows } = await sql<{ bug_id: number }>`select distinct t.bug_id from bug_task t join bug b on b.id = t.bug_id
    where t.status = ${STATUS.New} and b.users_affected_count > 1 and b.duplicate_of is null order by t.bug_id`.execute(
    store.db,
  );
  const out: Job[] = [];
  for (const { bug_id } of rows) {
    const jobs = await changeBug(store, actor, bug_id, async (change) => {
      const tasks = await tasksOf(change.db, bug_id);
      const targets = await targetsOf(change.db, tasks);
      const fresh = tasks.filter((task) => task.status === STATUS.New);
      if (change.bug.users_affected_count < 2 || fresh.length === 0) return [];
      for (const task of fresh) await editTask(change, task.id, { status: "Confirmed" });
      await addMessage(change, { content: "Status changed to 'Confirmed' because the bug affects multiple users." });
      return fresh.map((task) => ({ bug: bug_id, task: targetName(targets.get(task.id)!) }));
    });
    out.push(...jobs);
  }
  return out;
}
