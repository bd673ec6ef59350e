// From a path below the API's root to what it names. What the viewer may not see is not there.
import { MissingRecordError } from "../errors.ts";
import { readBug } from "../model/access.ts";
import { checkCve } from "../model/links.ts";
import { personNamed } from "../model/people.ts";
import { type Target, targetAt } from "../model/targets.ts";
import { isTaskOf, tasksOf } from "../model/tasks.ts";
import type {
  Activity,
  Attachment,
  Bug,
  BugTask,
  Message,
  Milestone,
  Nomination,
  Person,
  Subscription,
  Tracker,
  Watch,
} from "../store/schema.ts";
import type { Context } from "./context.ts";
import {
  activityEntry,
  attachmentEntry,
  bugEntry,
  cveEntry,
  type Entry,
  messageEntry,
  milestoneEntry,
  nominationEntry,
  packageEntry,
  personEntry,
  pillarEntry,
  seriesEntry,
  subscriptionEntry,
  taskEntry,
  trackerEntry,
  watchEntry,
} from "./entries.ts";

export type Resource =
  | { readonly kind: "root" }
  /** a top-level collection: bugs, people, … */
  | { readonly kind: "top"; readonly name: string }
  | { readonly kind: "bug"; readonly bug: Bug }
  | { readonly kind: "task"; readonly task: BugTask; readonly bug: Bug; readonly target: Target }
  | { readonly kind: "message"; readonly message: Message; readonly bug: Bug }
  | { readonly kind: "attachment"; readonly attachment: Attachment; readonly bug: Bug }
  | { readonly kind: "activity"; readonly activity: Activity; readonly bug: Bug }
  | { readonly kind: "subscription"; readonly subscription: Subscription; readonly bug: Bug }
  | { readonly kind: "watch"; readonly watch: Watch; readonly bug: Bug }
  | { readonly kind: "nomination"; readonly nomination: Nomination; readonly bug: Bug }
  | { readonly kind: "tracker"; readonly tracker: Tracker }
  | { readonly kind: "cve"; readonly sequence: string }
  | { readonly kind: "person"; readonly person: Person }
  | { readonly kind: "target"; readonly target: Target }
  | { readonly kind: "milestone"; readonly milestone: Milestone; readonly target: Target }
  /** what hangs below an entry: bugs/1/messages */
  | { readonly kind: "collection"; readonly of: Resource; readonly name: string }
  | { readonly kind: "file"; readonly attachment: Attachment };

const TOP: ReadonlyMap<string, string> = new Map([
  ["bugs", "bugs"],
  ["people", "people"],
  ["distros", "distributions"],
  ["distributions", "distributions"],
  ["projects", "projects"],
  ["bugs/bugtrackers", "bug_trackers"],
  ["bug_trackers", "bug_trackers"],
]);

/** @throws MissingRecordError */
export async function resourceAt(ctx: Context, path: string): Promise<Resource> {
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.length === 0) return { kind: "root" };
  const top = TOP.get(parts.join("/"));
  if (top !== undefined) return { kind: "top", name: top };
  const [first = "", second = "", ...rest] = parts;
  if (first === "bugs" && second === "cve") return belowCve(rest, path);
  if (first === "bugs" && second === "bugtrackers") return belowTracker(ctx, rest, path);
  if (first === "bugs") return belowBug(ctx, await bugNumbered(ctx, second), rest, path);
  if (first === "people" && second === "+me") {
    if (ctx.actor === undefined) throw new MissingRecordError("people/+me");
    return below({ kind: "person", person: ctx.actor.person }, rest, path);
  }
  if (first.startsWith("~")) {
    const person = await personNamed(ctx.db, first.slice(1));
    return below({ kind: "person", person }, second === "" ? [] : [second, ...rest], path);
  }
  return belowTarget(ctx, parts, path);
}

async function bugNumbered(ctx: Context, text: string): Promise<Bug> {
  return readBug(ctx.db, ctx.actor, /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN);
}

/** An entry, or one of its collections. */
function below(of: Resource, rest: readonly string[], path: string): Resource {
  const [name, ...more] = rest;
  if (name === undefined) return of;
  if (more.length > 0) throw new MissingRecordError(path);
  return { kind: "collection", of, name };
}

function belowCve([sequence, ...rest]: readonly string[], path: string): Resource {
  if (sequence === undefined) throw new MissingRecordError(path);
  return below({ kind: "cve", sequence: checkCve(sequence) }, rest, path);
}

async function belowTracker(ctx: Context, [name = "", ...rest]: readonly string[], path: string): Promise<Resource> {
  const tracker = await ctx.db.selectFrom("tracker").selectAll().where("name", "=", name).executeTakeFirst();
  if (tracker === undefined) throw new MissingRecordError(path);
  return below({ kind: "tracker", tracker }, rest, path);
}

async function belowBug(ctx: Context, bug: Bug, rest: readonly string[], path: string): Promise<Resource> {
  const [name, key, ...more] = rest;
  if (name === undefined || key === undefined) return below({ kind: "bug", bug }, rest, path);
  const id = /^\d{1,9}$/.test(key) ? Number(key) : -1;
  const missing = new MissingRecordError(path);
  const { db } = ctx;
  switch (name) {
    case "comments":
    case "messages": {
      const query = db.selectFrom("message").selectAll().where("bug_id", "=", bug.id).where("index", "=", id);
      const message = await query.executeTakeFirst();
      if (message === undefined) throw missing;
      return below({ kind: "message", message, bug }, more, path);
    }
    case "+attachment":
    case "attachments": {
      const query = db.selectFrom("attachment").selectAll().where("bug_id", "=", bug.id).where("id", "=", id);
      const attachment = await query.executeTakeFirst();
      if (attachment === undefined) throw missing;
      if (more[0] === "data") return { kind: "file", attachment };
      return below({ kind: "attachment", attachment, bug }, more, path);
    }
    case "activity": {
      const query = db.selectFrom("activity").selectAll().where("bug_id", "=", bug.id).where("id", "=", id);
      const activity = await query.executeTakeFirst();
      if (activity === undefined) throw missing;
      return below({ kind: "activity", activity, bug }, more, path);
    }
    case "+subscription": {
      const subscription = await db
        .selectFrom("subscription")
        .innerJoin("person", "person.id", "subscription.person_id")
        .selectAll("subscription")
        .where("bug_id", "=", bug.id)
        .where("person.name", "=", key)
        .executeTakeFirst();
      if (subscription === undefined) throw missing;
      return below({ kind: "subscription", subscription, bug }, more, path);
    }
    case "+watch": {
      const query = db.selectFrom("watch").selectAll().where("bug_id", "=", bug.id).where("id", "=", id);
      const watch = await query.executeTakeFirst();
      if (watch === undefined) throw missing;
      return below({ kind: "watch", watch, bug }, more, path);
    }
    case "nominations": {
      const query = db.selectFrom("nomination").selectAll().where("bug_id", "=", bug.id).where("id", "=", id);
      const nomination = await query.executeTakeFirst();
      if (nomination === undefined) throw missing;
      return below({ kind: "nomination", nomination, bug }, more, path);
    }
    default:
      throw missing;
  }
}

async function belowTarget(ctx: Context, parts: readonly string[], path: string): Promise<Resource> {
  const at = parts.findIndex((part) => part === "+bug" || part === "+milestone");
  if (at > 0) {
    const target = await targetAt(ctx.db, parts.slice(0, at).join("/"));
    const key = parts[at + 1] ?? "";
    const rest = parts.slice(at + 2);
    if (parts[at] === "+milestone") {
      const milestone = await ctx.db
        .selectFrom("milestone")
        .selectAll()
        .where("pillar_id", "=", target.pillar.id)
        .where("name", "=", key)
        .executeTakeFirst();
      if (milestone === undefined) throw new MissingRecordError(path);
      return below({ kind: "milestone", milestone, target }, rest, path);
    }
    const bug = await bugNumbered(ctx, key);
    const task = (await tasksOf(ctx.db, bug.id)).find((each) => isTaskOf(each, target));
    if (task === undefined) throw new MissingRecordError(path);
    if (rest[0] === "comments") return belowBug(ctx, bug, rest, path);
    return below({ kind: "task", task, bug, target }, rest, path);
  }
  try {
    return { kind: "target", target: await targetAt(ctx.db, parts.join("/")) };
  } catch (error) {
    if (!(error instanceof MissingRecordError) || parts.length < 2) throw error;
    return below(
      { kind: "target", target: await targetAt(ctx.db, parts.slice(0, -1).join("/")) },
      parts.slice(-1),
      path,
    );
  }
}

/** The declared type of what a path names; "" for what has none. */
export function typeOf(resource: Resource): string {
  switch (resource.kind) {
    case "top":
      return resource.name;
    case "task":
      return "bug_task";
    case "attachment":
      return "bug_attachment";
    case "activity":
      return "bug_activity";
    case "subscription":
      return "bug_subscription";
    case "watch":
      return "bug_watch";
    case "nomination":
      return "bug_nomination";
    case "tracker":
      return "bug_tracker";
    case "target":
      return targetType(resource.target);
    case "bug":
    case "message":
    case "cve":
    case "person":
    case "milestone":
      return resource.kind;
    case "root":
    case "collection":
    case "file":
      return "";
  }
}

function targetType({ pillar, series, package: name }: Target): string {
  if (name !== undefined) return series === undefined ? "distribution_source_package" : "source_package";
  if (series !== undefined) return pillar.kind === "distribution" ? "distro_series" : "project_series";
  return pillar.kind;
}

/** @returns undefined for what is no entry */
export async function entryOf(ctx: Context, resource: Resource): Promise<Entry | undefined> {
  switch (resource.kind) {
    case "bug":
      return bugEntry(ctx, resource.bug);
    case "task":
      return taskEntry(ctx, resource.task);
    case "message":
      return messageEntry(ctx, resource.message);
    case "attachment":
      return attachmentEntry(ctx, resource.attachment);
    case "activity":
      return activityEntry(ctx, resource.activity);
    case "subscription":
      return subscriptionEntry(ctx, resource.subscription);
    case "watch":
      return watchEntry(ctx, resource.watch);
    case "nomination":
      return nominationEntry(ctx, resource.nomination);
    case "tracker":
      return trackerEntry(ctx, resource.tracker);
    case "cve":
      return cveEntry(resource.sequence);
    case "person":
      return personEntry(ctx, resource.person);
    case "milestone":
      return milestoneEntry(ctx, resource.milestone);
    case "target":
      return targetEntry(ctx, resource.target);
    case "root":
    case "top":
    case "collection":
    case "file":
      return undefined;
  }
}

export async function targetEntry(ctx: Context, target: Target): Promise<Entry> {
  const { package: name, series, pillar } = target;
  if (name !== undefined) return packageEntry(ctx, { ...target, package: name });
  return series === undefined ? pillarEntry(ctx, pillar) : seriesEntry(ctx, series);
}
