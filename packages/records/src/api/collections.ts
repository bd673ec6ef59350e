// Collections: what is in them, page by page, as entries.
import { type RawBuilder, type SqlBool, sql } from "kysely";
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import { BUG_COLUMNS, seenBy } from "../model/access.ts";
import { isOneOf } from "../model/people.ts";
import { countTasks, type Search, searchTasks } from "../model/search.ts";
import { tasksOf } from "../model/tasks.ts";
import type { BugTask, Message } from "../store/schema.ts";
import type { Context } from "./context.ts";
import {
  activityEntry,
  attachmentEntry,
  bugEntry,
  cveEntry,
  type Entry,
  entryJson,
  type Json,
  messageEntry,
  milestoneEntry,
  nominationEntry,
  personEntry,
  pillarEntry,
  seriesEntry,
  subscriptionEntry,
  taskEntry,
  trackerEntry,
  watchEntry,
} from "./entries.ts";
import type { Resource } from "./resources.ts";

/** A collection that is read in parts. */
export interface Listing {
  /** "bug_task" */
  readonly of: string;
  count(): Promise<number>;
  read(start: number, size: number): Promise<readonly Entry[]>;
}

export const LARGEST_PAGE = 300;
const USUAL_PAGE = 50;

/** Everything at once: collections of one bug are short. */
function listing<T>(of: string, rows: readonly T[], entry: (row: T) => Promise<Entry | undefined> | Entry): Listing {
  return {
    of,
    count: async () => rows.length,
    read: async (start, size) => {
      const out: Entry[] = [];
      for (const row of rows.slice(start, start + size)) {
        const made = await entry(row);
        if (made !== undefined) out.push(made);
      }
      return out;
    },
  };
}

async function taskEntries(ctx: Context, tasks: readonly BugTask[]): Promise<Entry[]> {
  await ctx.readBugs(tasks.map((task) => task.bug_id));
  await ctx.readPeople(tasks.flatMap((task) => [task.assignee_id, task.owner_id]));
  const entries = await Promise.all(tasks.map((task) => taskEntry(ctx, task)));
  return entries.filter((entry) => entry !== undefined);
}

export function searchListing(ctx: Context, search: Search): Listing {
  return {
    of: "bug_task",
    count: () => countTasks(ctx.db, ctx.actor, search, 1_000_000),
    read: async (start, size) => taskEntries(ctx, await searchTasks(ctx.db, ctx.actor, search, { start, size })),
  };
}

/** Bugs that fit a condition over `bug`, of those that the viewer sees. */
function bugListing(ctx: Context, condition: RawBuilder<SqlBool>): Listing {
  const query = () => ctx.db.selectFrom("bug").where(condition).where(seenBy(ctx.actor));
  return {
    of: "bug",
    count: async () => {
      const row = await query()
        .select((eb) => eb.fn.countAll<string>().as("count"))
        .executeTakeFirstOrThrow();
      return Number(row.count);
    },
    read: async (start, size) => {
      const rows = await query().select(BUG_COLUMNS).orderBy("bug.id", "desc").limit(size).offset(start).execute();
      return Promise.all(rows.map((row) => bugEntry(ctx, row)));
    },
  };
}

export async function peopleListing(ctx: Context, text: string | undefined, isTeam?: boolean): Promise<Listing> {
  let query = ctx.db.selectFrom("person").selectAll().orderBy("name").limit(2000);
  if (isTeam !== undefined) query = query.where("is_team", "=", isTeam);
  if (text) {
    const pattern = `%${text.toLowerCase().replace(/[\\%_]/g, "\\$&")}%`;
    query = query.where(sql<SqlBool>`(name like ${pattern} or lower(display_name) like ${pattern})`);
  }
  return listing("person", await query.execute(), (row) => personEntry(ctx, row));
}

export async function pillarListing(ctx: Context, kind: "distribution" | "project", text?: string): Promise<Listing> {
  const rows = await ctx.db.selectFrom("pillar").selectAll().where("kind", "=", kind).orderBy("name").execute();
  const wanted = rows.filter(
    (row) => !text || `${row.name} ${row.display_name}`.toLowerCase().includes(text.toLowerCase()),
  );
  return listing(kind, wanted, (row) => pillarEntry(ctx, row));
}

async function topListing(ctx: Context, name: string): Promise<Listing> {
  switch (name) {
    case "bugs":
      return bugListing(ctx, sql`true`);
    case "people":
      return peopleListing(ctx, undefined);
    case "distributions":
      return pillarListing(ctx, "distribution");
    case "projects":
      return pillarListing(ctx, "project");
    case "bug_trackers": {
      const rows = await ctx.db.selectFrom("tracker").selectAll().orderBy("name").execute();
      return listing("bug_tracker", rows, (row) => trackerEntry(ctx, row));
    }
    default:
      throw new MissingRecordError(name);
  }
}

/** A comment that is hidden is shown to its author and to administrators. */
export function seesMessage(ctx: Context, message: Message): boolean {
  return message.visible || isOneOf(ctx.actor, message.owner_id);
}

async function bugCollection(ctx: Context, id: number, name: string): Promise<Listing> {
  const { db } = ctx;
  switch (name) {
    case "bug_tasks": {
      const rows = await tasksOf(db, id);
      return {
        of: "bug_task",
        count: async () => rows.length,
        read: (start, size) => taskEntries(ctx, rows.slice(start, start + size)),
      };
    }
    case "messages": {
      const rows = await db.selectFrom("message").selectAll().where("bug_id", "=", id).orderBy("index").execute();
      const seen = rows.filter((row) => seesMessage(ctx, row));
      return listing("message", seen, (row) => messageEntry(ctx, row));
    }
    case "attachments": {
      const rows = await db.selectFrom("attachment").selectAll().where("bug_id", "=", id).orderBy("id").execute();
      return listing("bug_attachment", rows, (row) => attachmentEntry(ctx, row));
    }
    case "activity": {
      const rows = await db.selectFrom("activity").selectAll().where("bug_id", "=", id).orderBy("id").execute();
      return listing("bug_activity", rows, (row) => activityEntry(ctx, row));
    }
    case "subscriptions": {
      const rows = await db.selectFrom("subscription").selectAll().where("bug_id", "=", id).orderBy("id").execute();
      return listing("bug_subscription", rows, (row) => subscriptionEntry(ctx, row));
    }
    case "bug_watches": {
      const rows = await db.selectFrom("watch").selectAll().where("bug_id", "=", id).orderBy("id").execute();
      return listing("bug_watch", rows, (row) => watchEntry(ctx, row));
    }
    case "cves": {
      const rows = await db.selectFrom("cve").selectAll().where("bug_id", "=", id).orderBy("sequence").execute();
      return listing("cve", rows, (row) => cveEntry(row.sequence));
    }
    case "duplicates":
      return bugListing(ctx, sql`bug.duplicate_of = ${id}`);
    case "linked_branches":
      return listing("bug_branch", [], () => undefined as never);
    case "nominations": {
      const rows = await db.selectFrom("nomination").selectAll().where("bug_id", "=", id).orderBy("id").execute();
      return listing("bug_nomination", rows, (row) => nominationEntry(ctx, row));
    }
    case "users_affected":
    case "users_affected_with_dupes":
    case "users_unaffected": {
      const affected = name !== "users_unaffected";
      const rows = await db
        .selectFrom("affected")
        .innerJoin("person", "person.id", "affected.person_id")
        .selectAll("person")
        .where("affected.bug_id", "=", id)
        .where("affected.affected", "=", affected)
        .orderBy("person.name")
        .execute();
      return listing("person", rows, (row) => personEntry(ctx, row));
    }
    default:
      throw new MissingRecordError(`bugs/${id}/${name}`);
  }
}

async function personCollection(ctx: Context, id: number, name: string): Promise<Listing> {
  const [from, to] =
    name === "members" || name === "participants" || name === "sub_teams"
      ? (["team_id", "person_id"] as const)
      : name === "super_teams"
        ? (["person_id", "team_id"] as const)
        : ([undefined, undefined] as const);
  if (from === undefined) throw new MissingRecordError(name);
  let query = ctx.db
    .selectFrom("team_member")
    .innerJoin("person", "person.id", `team_member.${to}`)
    .selectAll("person")
    .where(`team_member.${from}`, "=", id)
    .orderBy("person.name");
  if (name === "sub_teams") query = query.where("person.is_team", "=", true);
  return listing("person", await query.execute(), (row) => personEntry(ctx, row));
}

/** @throws MissingRecordError for a collection that the entry does not have */
export async function listingOf(ctx: Context, resource: Resource): Promise<Listing> {
  if (resource.kind === "top") return topListing(ctx, resource.name);
  if (resource.kind !== "collection") throw new MissingRecordError("the collection");
  const { of, name } = resource;
  if (of.kind === "bug") return bugCollection(ctx, of.bug.id, name);
  if (of.kind === "person") return personCollection(ctx, of.person.id, name);
  if (of.kind === "task" && name === "related_tasks") {
    const rows = (await tasksOf(ctx.db, of.bug.id)).filter((row) => row.id !== of.task.id);
    return listing("bug_task", rows, (row) => taskEntry(ctx, row));
  }
  if (of.kind === "watch" && name === "bug_tasks") {
    const rows = await ctx.db.selectFrom("bug_task").selectAll().where("watch_id", "=", of.watch.id).execute();
    return listing("bug_task", rows, (row) => taskEntry(ctx, row));
  }
  if (of.kind === "cve" && name === "bugs") {
    return bugListing(ctx, sql`exists (select from cve c where c.bug_id = bug.id and c.sequence = ${of.sequence})`);
  }
  if (of.kind === "message" && (name === "bug_attachments" || name === "revisions")) {
    if (!seesMessage(ctx, of.message)) throw new ForbiddenError("This comment is hidden.");
    const rows = await ctx.db.selectFrom("attachment").selectAll().where("message_id", "=", of.message.id).execute();
    return name === "revisions"
      ? revisions(ctx, of.message)
      : listing("bug_attachment", rows, (row) => attachmentEntry(ctx, row));
  }
  if (of.kind === "target" && name.endsWith("milestones")) {
    let query = ctx.db.selectFrom("milestone").selectAll().where("pillar_id", "=", of.target.pillar.id).orderBy("name");
    if (name === "active_milestones") query = query.where("is_active", "=", true);
    return listing("milestone", await query.execute(), (row) => milestoneEntry(ctx, row));
  }
  if (of.kind === "target" && name === "series" && of.target.series === undefined) {
    const query = ctx.db.selectFrom("series").selectAll().where("pillar_id", "=", of.target.pillar.id).orderBy("id");
    const type = of.target.pillar.kind === "distribution" ? "distro_series" : "project_series";
    return listing(type, await query.execute(), (row) => seriesEntry(ctx, row));
  }
  throw new MissingRecordError(name);
}

async function revisions(ctx: Context, message: Message): Promise<Listing> {
  const query = ctx.db
    .selectFrom("message_revision")
    .selectAll()
    .where("message_id", "=", message.id)
    .orderBy("revision");
  const path = `bugs/${message.bug_id}/comments/${message.index}`;
  return listing("message_revision", await query.execute(), (row) => ({
    type: "message_revision",
    path: `${path}/revisions/${row.revision}`,
    values: {
      revision: row.revision,
      content: row.content,
      date_created: row.date_created.toISOString().replace(/\.(\d{3})Z$/, ".$1000+00:00"),
      message_link: ctx.link(path),
    },
  }));
}

/** One page of a collection as JSON. `url` is what was asked for: its other parts are kept in the links. */
export async function pageJson(ctx: Context, list: Listing, url: URL): Promise<{ [key: string]: Json }> {
  const start = whole(url, "ws.start", 0, 2 ** 31 - 1);
  const size = whole(url, "ws.size", USUAL_PAGE, LARGEST_PAGE);
  const entries = await list.read(start, size);
  const total = await list.count();
  const at = (from: number): string => {
    const next = new URL(url);
    next.searchParams.set("ws.start", String(from));
    next.searchParams.set("ws.size", String(size));
    return next.href.replace(/'/g, "%27");
  };
  const out: { [key: string]: Json } = {
    total_size: total,
    start,
    resource_type_link: `${ctx.api}/#${list.of}-page-resource`,
    entries: entries.map((entry) => entryJson(ctx, entry)),
  };
  if (start + size < total) out.next_collection_link = at(start + size);
  if (start > 0) out.prev_collection_link = at(Math.max(0, start - size));
  return out;
}

function whole(url: URL, name: string, usual: number, most: number): number {
  const text = url.searchParams.get(name);
  if (text === null) return usual;
  if (!/^\d{1,10}$/.test(text)) throw new InvalidError(name, `Expected a whole number, not "${text.slice(0, 40)}".`);
  const value = Number(text);
  if (value > most && name === "ws.size") throw new InvalidError("", `Maximum for ws.size is ${most}`);
  return Math.min(value, most);
}
