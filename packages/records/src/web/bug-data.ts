// Everything that a record's page shows, read with few questions to the database: a page has to be there at once.
import { sql } from "kysely";
import { BUG_COLUMNS, readBug, seenBy } from "../model/access.ts";
import { type Actor, isOneOf } from "../model/people.ts";
import { type Target, targetsOf } from "../model/targets.ts";
import { tasksOf } from "../model/tasks.ts";
import type { Store } from "../store/open.ts";
import type { Activity, Attachment, Bug, BugTask, Message, Person } from "../store/schema.ts";

export interface TaskRow {
  readonly task: BugTask;
  readonly target: Target;
  readonly milestone: string | undefined;
  /** the series whose task a general task is one with: "Status tracked in Oneiric" */
  readonly trackedIn: string | undefined;
}

export interface BugData {
  readonly bug: Bug;
  readonly tasks: readonly TaskRow[];
  readonly messages: readonly Message[];
  readonly activity: readonly Activity[];
  readonly attachments: readonly Attachment[];
  readonly people: ReadonlyMap<number, Person>;
  readonly subscribers: readonly number[];
  readonly cves: readonly string[];
  readonly watches: readonly { title: string; remote_bug: string; remote_status: string | null }[];
  readonly duplicates: readonly Bug[];
  readonly master: Bug | undefined;
  readonly isAffected: boolean | undefined;
}

/** @throws MissingRecordError */
export async function readBugData(store: Store, actor: Actor | undefined, id: number): Promise<BugData> {
  const { db } = store;
  const bug = await readBug(db, actor, id);
  const [tasks, messages, activity, attachments, subscribers, cves, watches, related, affected] = await Promise.all([
    tasksOf(db, id),
    db.selectFrom("message").selectAll().where("bug_id", "=", id).orderBy("index").execute(),
    db.selectFrom("activity").selectAll().where("bug_id", "=", id).orderBy("id").execute(),
    db.selectFrom("attachment").selectAll().where("bug_id", "=", id).orderBy("id").execute(),
    db.selectFrom("subscription").select("person_id").where("bug_id", "=", id).orderBy("id").execute(),
    db.selectFrom("cve").select("sequence").where("bug_id", "=", id).orderBy("sequence").execute(),
    db
      .selectFrom("watch")
      .innerJoin("tracker", "tracker.id", "watch.tracker_id")
      .select(["tracker.title", "watch.remote_bug", "watch.remote_status"])
      .where("watch.bug_id", "=", id)
      .execute(),
    db
      .selectFrom("bug")
      .select(BUG_COLUMNS)
      .where(sql<boolean>`(bug.duplicate_of = ${id} or bug.id = ${bug.duplicate_of ?? 0})`)
      .where(seenBy(actor))
      .orderBy("bug.id")
      .execute(),
    actor === undefined
      ? undefined
      : db
          .selectFrom("affected")
          .select("affected")
          .where("bug_id", "=", id)
          .where("person_id", "=", actor.person.id)
          .executeTakeFirst(),
  ]);
  const [targets, people, milestones] = await Promise.all([
    targetsOf(db, tasks),
    readPeople(store, [
      bug.owner_id,
      bug.who_made_private,
      ...tasks.map((task) => task.assignee_id),
      ...messages.map((message) => message.owner_id),
      ...activity.map((entry) => entry.person_id),
      ...subscribers.map((row) => row.person_id),
    ]),
    milestoneNames(store, tasks),
  ]);
  return {
    bug,
    tasks: arrange(tasks, targets, milestones),
    messages: messages.filter((message) => message.visible || isOneOf(actor, message.owner_id)),
    activity,
    attachments,
    people,
    subscribers: subscribers.map((row) => row.person_id),
    cves: cves.map((row) => row.sequence),
    watches,
    duplicates: related.filter((row) => row.duplicate_of === id),
    master: related.find((row) => row.id === bug.duplicate_of),
    isAffected: affected?.affected,
  };
}

async function readPeople({ db }: Store, ids: readonly (number | null)[]): Promise<Map<number, Person>> {
  const wanted = [...new Set(ids)].filter((id) => id !== null);
  const rows = await db.selectFrom("person").selectAll().where("id", "in", wanted).execute();
  return new Map(rows.map((row) => [row.id, row]));
}

async function milestoneNames({ db }: Store, tasks: readonly BugTask[]): Promise<ReadonlyMap<number, string>> {
  const ids = tasks.flatMap((task) => task.milestone_id ?? []);
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom("milestone").select(["id", "name"]).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row.name]));
}

/** Each general task with its series' tasks below it. */
function arrange(
  tasks: readonly BugTask[],
  targets: ReadonlyMap<number, Target>,
  milestones: ReadonlyMap<number, string>,
): TaskRow[] {
  const isSame = (left: BugTask, right: BugTask) =>
    left.pillar_id === right.pillar_id && left.package === right.package;
  const out: TaskRow[] = [];
  const push = (task: BugTask): void => {
    const target = targets.get(task.id)!;
    const current = target.pillar.current_series_id;
    const tracked =
      task.series_id === null &&
      tasks.find((each) => isSame(each, task) && each.series_id === current && current !== null);
    out.push({
      task,
      target,
      milestone: task.milestone_id === null ? undefined : milestones.get(task.milestone_id),
      trackedIn: tracked ? targets.get(tracked.id)!.series?.display_name : undefined,
    });
  };
  for (const general of tasks.filter((task) => task.series_id === null)) {
    push(general);
    for (const task of tasks) if (task.series_id !== null && isSame(task, general)) push(task);
  }
  for (const task of tasks) if (!out.some((row) => row.task.id === task.id)) push(task);
  return out;
}
