// Rows as the entries that Launchpad's client reads: one function a type, each filling every field that types.ts declares.
import { createHash } from "node:crypto";
import { type Target, targetName, targetPath } from "../model/targets.ts";
import { importanceTitle, isOpen, isPrivate, isSecurity, statusTitle } from "../model/words.ts";
import type {
  Activity,
  Attachment,
  Bug,
  BugTask,
  Message,
  Milestone,
  Nomination,
  Person,
  Pillar,
  Series,
  Subscription,
  Tracker,
  Watch,
} from "../store/schema.ts";
import { type Context, dateText } from "./context.ts";
import type { ResourceType } from "./definition.ts";
import { typeNamed } from "./types.ts";

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface Entry {
  readonly type: string;
  /** below the API's root */
  readonly path: string;
  readonly web?: string;
  readonly values: Readonly<Record<string, Json>>;
}

/** The JSON of an entry: every declared field, links to itself, and the etag. */
export function entryJson(ctx: Context, { type, path, web, values }: Entry): { [key: string]: Json } {
  const { fields } = typeNamed(type === "team" ? "person" : type);
  const out: { [key: string]: Json } = {
    self_link: ctx.link(path),
    web_link: ctx.web(web ?? path),
    resource_type_link: `${ctx.api}/#${type}`,
  };
  for (const { name, value } of fields) {
    const collection = name.slice(0, -"_collection_link".length);
    out[name] = values[name] ?? (value.is === "collection" ? ctx.link(`${path}/${collection}`) : null);
  }
  out.http_etag = etag(typeNamed(type === "team" ? "person" : type), out);
  return out;
}

/** Two halves, read-only and writable: a new comment does not break a save of the title. */
function etag({ fields }: ResourceType, values: { readonly [key: string]: Json }): string {
  const half = (writable: boolean) =>
    createHash("sha1")
      .update(
        JSON.stringify(fields.filter((each) => (each.writable ?? false) === writable).map((each) => values[each.name])),
      )
      .digest("hex");
  return `"${half(false)}-${half(true)}"`;
}

/** The half of an etag that a writer must have read. */
export function writableHalf(tag: string): string {
  return /-([0-9a-f]+)(?:-gzip)?"?$/.exec(tag.trim())?.[1] ?? tag;
}

export async function bugEntry(ctx: Context, bug: Bug): Promise<Entry> {
  const duplicate = bug.duplicate_of === null ? undefined : await ctx.bug(bug.duplicate_of);
  return {
    type: "bug",
    path: `bugs/${bug.id}`,
    values: {
      id: bug.id,
      name: null,
      title: bug.title,
      description: bug.description,
      tags: bug.tags,
      information_type: bug.information_type,
      private: isPrivate(bug.information_type),
      security_related: isSecurity(bug.information_type),
      // What it is a duplicate of may be private: then it is not told.
      duplicate_of_link: duplicate === undefined ? null : ctx.link(`bugs/${duplicate.id}`),
      owner_link: await ctx.personLink(bug.owner_id),
      date_created: dateText(bug.date_created),
      date_last_updated: dateText(bug.date_last_updated),
      date_last_message: dateText(bug.date_last_message),
      date_made_private: dateText(bug.date_made_private),
      who_made_private_link: await ctx.personLink(bug.who_made_private),
      latest_patch_uploaded: dateText(bug.latest_patch_uploaded),
      heat: bug.heat,
      message_count: bug.message_count,
      number_of_duplicates: bug.number_of_duplicates,
      can_expire: false,
      users_affected_count: bug.users_affected_count,
      users_unaffected_count: bug.users_unaffected_count,
      users_affected_count_with_dupes: bug.users_affected_count + bug.number_of_duplicates,
      other_users_affected_count_with_dupes: Math.max(0, bug.users_affected_count + bug.number_of_duplicates - 1),
      lock_status: bug.lock_status,
      lock_reason: bug.lock_reason,
    },
  };
}

export async function taskEntry(ctx: Context, task: BugTask): Promise<Entry | undefined> {
  const bug = await ctx.bug(task.bug_id);
  if (bug === undefined) return undefined;
  const target = await ctx.target(task);
  const name = targetName(target);
  const milestone =
    task.milestone_id === null
      ? undefined
      : await ctx.db.selectFrom("milestone").selectAll().where("id", "=", task.milestone_id).executeTakeFirst();
  return {
    type: "bug_task",
    path: taskPath(target, bug.id),
    values: {
      status: statusTitle(task.status),
      importance: importanceTitle(task.importance),
      assignee_link: await ctx.personLink(task.assignee_id),
      milestone_link: milestone === undefined ? null : ctx.link(milestonePath(target.pillar, milestone)),
      target_link: ctx.link(targetPath(target)),
      bug_watch_link: task.watch_id === null ? null : ctx.link(`bugs/${bug.id}/+watch/${task.watch_id}`),
      bug_link: ctx.link(`bugs/${bug.id}`),
      owner_link: await ctx.personLink(task.owner_id),
      title: `Bug #${bug.id} in ${name}: "${bug.title}"`,
      bug_target_display_name: name,
      bug_target_name: targetNameId(target),
      is_complete: !isOpen(task.status),
      date_assigned: dateText(task.date_assigned),
      date_closed: dateText(task.date_closed),
      date_confirmed: dateText(task.date_confirmed),
      date_created: dateText(task.date_created),
      date_fix_committed: dateText(task.date_fix_committed),
      date_fix_released: dateText(task.date_fix_released),
      date_in_progress: dateText(task.date_in_progress),
      date_incomplete: dateText(task.date_incomplete),
      date_left_closed: dateText(task.date_left_closed),
      date_left_new: dateText(task.date_left_new),
      date_triaged: dateText(task.date_triaged),
    },
  };
}

/** "linux (Ubuntu Oneiric)" → Launchpad's bug_target_name: "linux (Ubuntu)" of the pillar's name, lower case for a pillar alone */
function targetNameId(target: Target): string {
  const { pillar, series, package: name } = target;
  if (name) return `${name} (${pillar.display_name}${series ? ` ${series.display_name}` : ""})`;
  return series ? `${pillar.name}/${series.name}` : pillar.name;
}

export function taskPath(target: Target, bugId: number): string {
  return `${targetPath(target)}/+bug/${bugId}`;
}
export function milestonePath(pillar: Pillar, milestone: Milestone): string {
  return `${pillar.name}/+milestone/${milestone.name}`;
}

export async function messageEntry(ctx: Context, message: Message): Promise<Entry> {
  return {
    type: "message",
    path: `bugs/${message.bug_id}/comments/${message.index}`,
    values: {
      subject: message.subject,
      content: message.date_deleted === null ? message.content : "",
      owner_link: await ctx.personLink(message.owner_id),
      parent_link: message.index === 0 ? null : ctx.link(`bugs/${message.bug_id}/comments/0`),
      date_created: dateText(message.date_created),
      date_last_edited: dateText(message.date_last_edited),
      date_deleted: dateText(message.date_deleted),
    },
  };
}

export async function attachmentEntry(ctx: Context, attachment: Attachment): Promise<Entry> {
  const message = await ctx.db
    .selectFrom("message")
    .select("index")
    .where("id", "=", attachment.message_id)
    .executeTakeFirstOrThrow();
  const path = `bugs/${attachment.bug_id}/+attachment/${attachment.id}`;
  return {
    type: "bug_attachment",
    path,
    values: {
      title: attachment.title,
      type: attachment.is_patch ? "Patch" : "Unspecified",
      bug_link: ctx.link(`bugs/${attachment.bug_id}`),
      message_link: ctx.link(`bugs/${attachment.bug_id}/comments/${message.index}`),
      data_link: ctx.link(`${path}/data`),
    },
  };
}

export async function activityEntry(ctx: Context, row: Activity): Promise<Entry> {
  return {
    type: "bug_activity",
    path: `bugs/${row.bug_id}/activity/${row.id}`,
    web: `bugs/${row.bug_id}/+activity`,
    values: {
      bug_link: ctx.link(`bugs/${row.bug_id}`),
      person_link: await ctx.personLink(row.person_id),
      datechanged: dateText(row.date),
      whatchanged: row.what,
      oldvalue: row.old_value,
      newvalue: row.new_value,
      message: row.message,
    },
  };
}

export async function subscriptionEntry(ctx: Context, row: Subscription): Promise<Entry> {
  const person = await ctx.person(row.person_id);
  return {
    type: "bug_subscription",
    path: `bugs/${row.bug_id}/+subscription/${person.name}`,
    web: `bugs/${row.bug_id}`,
    values: {
      bug_link: ctx.link(`bugs/${row.bug_id}`),
      person_link: await ctx.personLink(row.person_id),
      subscribed_by_link: await ctx.personLink(row.subscribed_by),
      date_created: dateText(row.date_created),
    },
  };
}

export function trackerEntry(ctx: Context, tracker: Tracker): Entry {
  return {
    type: "bug_tracker",
    path: `bugs/bugtrackers/${tracker.name}`,
    values: {
      name: tracker.name,
      title: tracker.title,
      summary: tracker.title,
      base_url: tracker.base_url,
      bug_tracker_type: tracker.kind,
      active: true,
      registrant_link: ctx.link("~registry"),
    },
  };
}

/** Where a watched bug is read. */
export function watchUrl(tracker: Tracker, remoteBug: string): string {
  const number = encodeURIComponent(remoteBug);
  if (tracker.kind === "Debbugs") return `${tracker.base_url}/cgi-bin/bugreport.cgi?bug=${number}`;
  if (tracker.kind === "Bugzilla") return `${tracker.base_url}/show_bug.cgi?id=${number}`;
  return `${tracker.base_url}/${number}`;
}

export async function watchEntry(ctx: Context, row: Watch): Promise<Entry> {
  const tracker = await ctx.db
    .selectFrom("tracker")
    .selectAll()
    .where("id", "=", row.tracker_id)
    .executeTakeFirstOrThrow();
  return {
    type: "bug_watch",
    path: `bugs/${row.bug_id}/+watch/${row.id}`,
    web: `bugs/${row.bug_id}`,
    values: {
      bug_link: ctx.link(`bugs/${row.bug_id}`),
      bug_tracker_link: ctx.link(`bugs/bugtrackers/${tracker.name}`),
      owner_link: await ctx.personLink(row.owner_id),
      remote_bug: row.remote_bug,
      remote_status: row.remote_status,
      remote_importance: row.remote_importance,
      title: `${tracker.title} #${row.remote_bug}`,
      url: watchUrl(tracker, row.remote_bug),
      date_created: dateText(row.date_created),
      date_last_checked: dateText(row.date_last_checked),
    },
  };
}

export function cveEntry(sequence: string): Entry {
  return {
    type: "cve",
    path: `bugs/cve/${sequence}`,
    values: {
      sequence,
      title: `CVE-${sequence}`,
      display_name: `CVE-${sequence}`,
      description: "",
      status: "Candidate",
      url: `https://www.cve.org/CVERecord?id=CVE-${sequence}`,
    },
  };
}

export async function nominationEntry(ctx: Context, row: Nomination): Promise<Entry> {
  const series = await ctx.seriesById(row.series_id);
  const pillar = await ctx.pillar(series.pillar_id);
  const path = ctx.link(`${pillar.name}/${series.name}`);
  return {
    type: "bug_nomination",
    path: `bugs/${row.bug_id}/nominations/${row.id}`,
    web: `bugs/${row.bug_id}`,
    values: {
      bug_link: ctx.link(`bugs/${row.bug_id}`),
      target_link: path,
      distroseries_link: pillar.kind === "distribution" ? path : null,
      productseries_link: pillar.kind === "project" ? path : null,
      owner_link: await ctx.personLink(row.owner_id),
      decider_link: await ctx.personLink(row.decider_id),
      status: row.status,
      date_created: dateText(row.date_created),
      date_decided: dateText(row.date_decided),
    },
  };
}

export async function personEntry(ctx: Context, row: Person): Promise<Entry> {
  return {
    type: row.is_team ? "team" : "person",
    path: `~${row.name}`,
    values: {
      name: row.name,
      display_name: row.display_name,
      is_team: row.is_team,
      is_valid: true,
      private: false,
      karma: 0,
      date_created: dateText(row.date_created),
      description: "",
      hide_email_addresses: true,
      team_owner_link: row.is_team ? await ctx.personLink(row.owner_id) : null,
    },
  };
}

const TARGET_VALUES = { bug_reporting_guidelines: null, bug_reported_acknowledgement: null };

export async function pillarEntry(ctx: Context, pillar: Pillar): Promise<Entry> {
  const current = pillar.current_series_id === null ? null : await ctx.seriesById(pillar.current_series_id);
  const currentLink = current && ctx.link(`${pillar.name}/${current.name}`);
  return {
    type: pillar.kind,
    path: pillar.name,
    values: {
      ...TARGET_VALUES,
      official_bug_tags: pillar.official_tags,
      name: pillar.name,
      display_name: pillar.display_name,
      title: pillar.display_name,
      summary: pillar.summary,
      description: pillar.summary,
      active: true,
      official_bugs: true,
      domain_name: null,
      date_created: dateText(pillar.date_created),
      owner_link: await ctx.personLink(pillar.owner_id),
      registrant_link: await ctx.personLink(pillar.owner_id),
      driver_link: await ctx.personLink(pillar.driver_id),
      bug_supervisor_link: await ctx.personLink(pillar.supervisor_id),
      current_series_link: currentLink,
      development_focus_link: currentLink,
    },
  };
}

export async function seriesEntry(ctx: Context, series: Series): Promise<Entry> {
  const pillar = await ctx.pillar(series.pillar_id);
  return {
    type: pillar.kind === "distribution" ? "distro_series" : "project_series",
    path: `${pillar.name}/${series.name}`,
    values: {
      ...TARGET_VALUES,
      official_bug_tags: [],
      name: series.name,
      display_name: series.display_name,
      displayname: series.display_name,
      title: `${pillar.display_name} ${series.display_name}`,
      fullseriesname: `${pillar.display_name} ${series.display_name}`,
      summary: "",
      version: series.version,
      status: series.status,
      active: true,
      supported: !/obsolete/i.test(series.status),
      date_created: dateText(series.date_created),
      owner_link: await ctx.personLink(pillar.owner_id),
      driver_link: await ctx.personLink(series.driver_id),
      distribution_link: ctx.link(pillar.name),
      project_link: ctx.link(pillar.name),
    },
  };
}

export function packageEntry(ctx: Context, target: Target & { readonly package: string }): Entry {
  const { pillar, series, package: name } = target;
  const shared = {
    ...TARGET_VALUES,
    official_bug_tags: pillar.official_tags,
    name,
    distribution_link: ctx.link(pillar.name),
  };
  if (series === undefined) {
    const display = `${name} in ${pillar.display_name}`;
    return {
      type: "distribution_source_package",
      path: targetPath(target),
      values: { ...shared, display_name: display, title: `${name} package in ${pillar.display_name}` },
    };
  }
  return {
    type: "source_package",
    path: targetPath(target),
    values: {
      ...shared,
      displayname: `${name} in ${pillar.display_name} ${series.display_name}`,
      distroseries_link: ctx.link(`${pillar.name}/${series.name}`),
    },
  };
}

export async function milestoneEntry(ctx: Context, milestone: Milestone): Promise<Entry> {
  const pillar = await ctx.pillar(milestone.pillar_id);
  const series = milestone.series_id === null ? undefined : await ctx.seriesById(milestone.series_id);
  return {
    type: "milestone",
    path: milestonePath(pillar, milestone),
    values: {
      name: milestone.name,
      title: `${pillar.display_name} ${milestone.name}`,
      summary: milestone.summary,
      is_active: milestone.is_active,
      date_targeted: milestone.date_targeted === null ? null : milestone.date_targeted.toISOString().slice(0, 10),
      target_link: ctx.link(pillar.name),
      series_target_link: series === undefined ? null : ctx.link(`${pillar.name}/${series.name}`),
    },
  };
}
