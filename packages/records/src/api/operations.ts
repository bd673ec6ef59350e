// The named operations (ws.op): each a function over what the path named and the checked arguments.
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import { createBug, markAffected } from "../model/bugs.ts";
import { type Change, changeBug } from "../model/change.ts";
import { addWatch, decide, linkCve, nominate, subscribe, unlinkCve, unsubscribe } from "../model/links.ts";
import { addAttachment, addMessage, editMessage, removeAttachment, setVisible } from "../model/messages.ts";
import { type Actor, addMember, ensurePerson, findPerson, isOneOf } from "../model/people.ts";
import type { Search } from "../model/search.ts";
import {
  ensurePillar,
  ensureSeries,
  findPillar,
  findSeries,
  rolesFor,
  type Target,
  targetAt,
  targetsOf,
} from "../model/targets.ts";
import { addTask, tasksOf } from "../model/tasks.ts";
import { checkName, checkText } from "../model/words.ts";
import type { Bug, Person } from "../store/schema.ts";
import type { Arguments, Upload } from "./arguments.ts";
import { type Listing, peopleListing, pillarListing, searchListing } from "./collections.ts";
import type { Context } from "./context.ts";
import {
  type Entry,
  type Json,
  milestoneEntry,
  nominationEntry,
  personEntry,
  subscriptionEntry,
  taskPath,
  trackerEntry,
} from "./entries.ts";
import { type Resource, targetEntry } from "./resources.ts";

export type Outcome =
  | { readonly created: string }
  | { readonly page: Listing }
  | { readonly entry: Entry }
  | { readonly value: Json };

export class Args {
  constructor(private readonly all: Arguments) {}
  text(name: string): string | undefined {
    const value = this.all.get(name);
    return typeof value === "string" ? value : undefined;
  }
  need(name: string): string {
    return this.text(name) ?? "";
  }
  bool(name: string): boolean | undefined {
    const value = this.all.get(name);
    return typeof value === "boolean" ? value : undefined;
  }
  int(name: string): number | undefined {
    const value = this.all.get(name);
    return typeof value === "number" ? value : undefined;
  }
  date(name: string): Date | undefined {
    const value = this.all.get(name);
    return value instanceof Date ? value : undefined;
  }
  list(name: string): readonly string[] | undefined {
    const value = this.all.get(name);
    return Array.isArray(value) && value.length > 0 ? (value as readonly string[]) : undefined;
  }
  upload(name: string): Upload {
    const value = this.all.get(name);
    if (typeof value === "object" && value !== null && "bytes" in value) return value;
    throw new InvalidError(name, "Required input is missing.");
  }
  has(name: string): boolean {
    return this.all.has(name);
  }
}

function requireActor(ctx: Context): Actor {
  if (ctx.actor === undefined) throw new ForbiddenError("You must be logged in to do this.");
  return ctx.actor;
}

/** "~smb" → the person. @throws InvalidError naming the argument */
async function personArgument(ctx: Context, name: string, path: string): Promise<Person> {
  if (path === "people/+me" || path === "+me") return requireActor(ctx).person;
  const person = await findPerson(ctx.db, path.replace(/^~/, ""));
  if (person === undefined) throw new InvalidError(name, `No such object "${path.slice(0, 80)}".`);
  return person;
}

export async function targetArgument(ctx: Context, name: string, path: string): Promise<Target> {
  try {
    return await targetAt(ctx.db, path);
  } catch (error) {
    if (error instanceof MissingRecordError) throw new InvalidError(name, `No such object "${path.slice(0, 80)}".`);
    throw error;
  }
}

function change<T>(ctx: Context, bug: Bug, work: (change: Change) => Promise<T>): Promise<T> {
  return changeBug(ctx.store, ctx.actor, bug.id, work);
}

type Handler<K extends Resource["kind"]> = (
  ctx: Context,
  subject: Extract<Resource, { kind: K }>,
  args: Args,
) => Promise<Outcome>;

const BUG: Readonly<Record<string, Handler<"bug">>> = {
  newMessage: async (ctx, { bug }, args) => {
    const { index } = await change(ctx, bug, (c) =>
      addMessage(c, { content: args.need("content"), subject: args.text("subject") }),
    );
    return { created: `bugs/${bug.id}/comments/${index}` };
  },
  addAttachment: async (ctx, { bug }, args) => {
    const upload = args.upload("data");
    const made = await addAttachment(ctx.store, ctx.actor, bug.id, {
      bytes: upload.bytes,
      fileName: args.text("filename") || upload.fileName || "attachment",
      contentType: args.text("content_type") ?? upload.contentType,
      isPatch: args.bool("is_patch"),
      description: args.text("description"),
      comment: args.text("comment"),
    });
    return { created: `bugs/${bug.id}/+attachment/${made.id}` };
  },
  addTask: async (ctx, { bug }, args) => {
    const target = await targetArgument(ctx, "target", args.need("target"));
    if (target.series) throw new InvalidError("target", "Series tasks may only be created by approving nominations.");
    await change(ctx, bug, (c) => addTask(c, target));
    return { created: taskPath(target, bug.id) };
  },
  subscribe: async (ctx, { bug }, args) => {
    const person = await personArgument(ctx, "person", args.need("person"));
    await change(ctx, bug, (c) => subscribe(c, person, args.text("level")));
    const row = await ctx.db
      .selectFrom("subscription")
      .selectAll()
      .where("bug_id", "=", bug.id)
      .where("person_id", "=", person.id)
      .executeTakeFirstOrThrow();
    return { entry: await subscriptionEntry(ctx, row) };
  },
  unsubscribe: async (ctx, { bug }, args) => {
    const path = args.text("person");
    const person = path ? await personArgument(ctx, "person", path) : requireActor(ctx).person;
    await change(ctx, bug, (c) => unsubscribe(c, person));
    return { value: null };
  },
  unsubscribeFromDupes: async (ctx, { bug }, args) => {
    const path = args.text("person");
    const person = path ? await personArgument(ctx, "person", path) : requireActor(ctx).person;
    const rows = await ctx.db.selectFrom("bug").select("id").where("duplicate_of", "=", bug.id).execute();
    for (const { id } of rows) await changeBug(ctx.store, ctx.actor, id, (c) => unsubscribe(c, person));
    return { value: null };
  },
  markUserAffected: async (ctx, { bug }, args) => {
    await markAffected(ctx.store, ctx.actor, bug.id, args.bool("affected") ?? true);
    return { value: null };
  },
  isUserAffected: async (ctx, { bug }) => {
    const row = await ctx.db
      .selectFrom("affected")
      .select("affected")
      .where("bug_id", "=", bug.id)
      .where("person_id", "=", requireActor(ctx).person.id)
      .executeTakeFirst();
    return { value: row?.affected ?? null };
  },
  setCommentVisibility: async (ctx, { bug }, args) => {
    await change(ctx, bug, (c) => setVisible(c, args.int("comment_number") ?? -1, args.bool("visible") ?? true));
    return { value: null };
  },
  addWatch: async (ctx, { bug }, args) => {
    const name = args.need("bug_tracker").replace(/^bugs\/bugtrackers\//, "");
    const tracker = await ctx.db.selectFrom("tracker").selectAll().where("name", "=", name).executeTakeFirst();
    if (tracker === undefined) throw new InvalidError("bug_tracker", `No such object "${name.slice(0, 80)}".`);
    const id = await change(ctx, bug, (c) => addWatch(c, tracker, args.need("remote_bug")));
    return { created: `bugs/${bug.id}/+watch/${id}` };
  },
  linkCVE: async (ctx, { bug }, args) => {
    await change(ctx, bug, (c) => linkCve(c, args.need("cve").replace(/^bugs\/cve\//, "")));
    return { value: null };
  },
  unlinkCVE: async (ctx, { bug }, args) => {
    await change(ctx, bug, (c) => unlinkCve(c, args.need("cve").replace(/^bugs\/cve\//, "")));
    return { value: null };
  },
  addNomination: async (ctx, { bug }, args) => {
    const target = await targetArgument(ctx, "target", args.need("target"));
    const id = await change(ctx, bug, (c) => nominate(c, target));
    return { created: `bugs/${bug.id}/nominations/${id}` };
  },
  lock: (ctx, { bug }, args) => setLock(ctx, bug, args.need("status"), args.text("reason") ?? null),
  unlock: (ctx, { bug }) => setLock(ctx, bug, "Unlocked", null),
  canBeNominatedFor: async (ctx, { bug }, args) => {
    const target = await targetArgument(ctx, "target", args.need("target"));
    return { value: target.series !== undefined && (await nominations(ctx, bug, target)).length === 0 };
  },
  getNominations: async (ctx, { bug }, args) => {
    const path = args.text("target");
    const rows = await nominations(ctx, bug, path ? await targetArgument(ctx, "target", path) : undefined);
    return {
      page: {
        of: "bug_nomination",
        count: async () => rows.length,
        read: (start, size) => Promise.all(rows.slice(start, start + size).map((row) => nominationEntry(ctx, row))),
      },
    };
  },
  getNominationFor: async (ctx, { bug }, args) => {
    const [row] = await nominations(ctx, bug, await targetArgument(ctx, "target", args.need("target")));
    if (row === undefined) throw new InvalidError("", `Bug #${bug.id} is not nominated for ${args.need("target")}.`);
    return { entry: await nominationEntry(ctx, row) };
  },
  isExpirable: async (ctx, { bug }) => {
    const tasks = await tasksOf(ctx.db, bug.id);
    return {
      value: tasks.some((task) => task.status === 14 && task.assignee_id === null && task.milestone_id === null),
    };
  },
  getVisibleLinkedBranches: async () => ({ page: { of: "bug_branch", count: async () => 0, read: async () => [] } }),
};

async function nominations(ctx: Context, bug: Bug, target: Target | undefined) {
  const rows = await ctx.db.selectFrom("nomination").selectAll().where("bug_id", "=", bug.id).orderBy("id").execute();
  if (target === undefined) return rows;
  if (target.series) return rows.filter((row) => row.series_id === target.series?.id);
  const series = await ctx.db.selectFrom("series").select("id").where("pillar_id", "=", target.pillar.id).execute();
  return rows.filter((row) => series.some((each) => each.id === row.series_id));
}

async function setLock(ctx: Context, bug: Bug, status: string, reason: string | null): Promise<Outcome> {
  await change(ctx, bug, async (c) => {
    const targets = await targetsOf(c.db, await tasksOf(c.db, bug.id));
    const roles = await Promise.all([...targets.values()].map((target) => rolesFor(c.db, c.actor, target)));
    if (!roles.some((role) => role.isSupervisor)) throw new ForbiddenError("Only Bug Supervisors may lock a bug.");
    c.log("lock status", c.bug.lock_status, status, reason);
    await c.update({ lock_status: status, lock_reason: reason });
  });
  return { value: null };
}

/** The arguments of searchTasks as a search. */
export async function searchFrom(ctx: Context, args: Args, target: Target | undefined): Promise<Search> {
  const person = async (name: string): Promise<number | undefined> => {
    const path = args.text(name);
    return path === undefined ? undefined : (await personArgument(ctx, name, path)).id;
  };
  const milestone = args.text("milestone");
  return {
    target,
    text: args.text("search_text"),
    statuses: args.list("status"),
    importances: args.list("importance"),
    informationTypes: args.list("information_type"),
    tags: args.list("tags"),
    tagsCombinator: args.text("tags_combinator"),
    assignee: await person("assignee"),
    reporter: await person("bug_reporter"),
    commenter: await person("bug_commenter"),
    subscriber: await person("bug_subscriber"),
    owner: await person("owner"),
    affected: await person("affected_user"),
    milestone: milestone === undefined ? undefined : await milestoneId(ctx, milestone),
    omitDuplicates: args.bool("omit_duplicates"),
    omitTargeted: args.bool("omit_targeted"),
    hasPatch: args.bool("has_patch") || undefined,
    hasCve: args.bool("has_cve") || undefined,
    hasNoPackage: args.bool("has_no_package") || undefined,
    createdSince: args.date("created_since"),
    createdBefore: args.date("created_before"),
    modifiedSince: args.date("modified_since"),
    orderBy: args.list("order_by"),
  };
}

async function milestoneId(ctx: Context, path: string): Promise<number> {
  const [pillarName = "", , name = ""] = path.split("/");
  const pillar = await findPillar(ctx.db, pillarName);
  const row =
    pillar &&
    (await ctx.db
      .selectFrom("milestone")
      .select("id")
      .where("pillar_id", "=", pillar.id)
      .where("name", "=", name)
      .executeTakeFirst());
  if (!row) throw new InvalidError("milestone", `No such object "${path.slice(0, 80)}".`);
  return row.id;
}

const TARGET: Readonly<Record<string, Handler<"target">>> = {
  searchTasks: async (ctx, { target }, args) => ({ page: searchListing(ctx, await searchFrom(ctx, args, target)) }),
  getSourcePackage: async (ctx, { target }, args) => {
    const name = checkName("name", args.need("name"));
    return { entry: await targetEntry(ctx, { ...target, package: name }) };
  },
  searchSourcePackages: async (ctx, { target }, args) => {
    const query = ctx.db.selectFrom("package").select("name").where("pillar_id", "=", target.pillar.id).orderBy("name");
    const match = args.need("source_match").toLowerCase();
    const rows = (await query.execute()).filter((row) => row.name.includes(match));
    const entry = (name: string) => targetEntry(ctx, { ...target, package: name });
    return {
      page: {
        of: "distribution_source_package",
        count: async () => rows.length,
        read: (start, size) => Promise.all(rows.slice(start, start + size).map((row) => entry(row.name))),
      },
    };
  },
  getSeries: async (ctx, { target }, args) => {
    const name = args.text("name_or_version") ?? args.need("name");
    const series = await findSeries(ctx.db, target.pillar, name);
    if (series === undefined) {
      if (target.pillar.kind === "project") return { value: null };
      throw new InvalidError("", `No such distribution series: '${name.slice(0, 80)}'.`);
    }
    return { entry: await targetEntry(ctx, { ...target, series }) };
  },
  getDevelopmentSeries: async (ctx, { target }) => {
    const query = ctx.db.selectFrom("series").selectAll().where("pillar_id", "=", target.pillar.id).orderBy("id");
    const rows = (await query.execute()).filter((row) => /development/i.test(row.status));
    const entry = (series: (typeof rows)[number]) => targetEntry(ctx, { ...target, series });
    return {
      page: {
        of: "distro_series",
        count: async () => rows.length,
        read: (start, size) => Promise.all(rows.slice(start, start + size).map(entry)),
      },
    };
  },
  getMilestone: async (ctx, { target }, args) => {
    const row = await ctx.db
      .selectFrom("milestone")
      .selectAll()
      .where("pillar_id", "=", target.pillar.id)
      .where("name", "=", args.need("name"))
      .executeTakeFirst();
    return row === undefined ? { value: null } : { entry: await milestoneEntry(ctx, row) };
  },
  newMilestone: async (ctx, { target }, args) => {
    const roles = await rolesFor(ctx.db, ctx.actor, target);
    if (!roles.isDriver) throw new ForbiddenError("Only drivers may create milestones.");
    const name = checkName("name", args.need("name"));
    const date = args.text("date_targeted");
    await ctx.db
      .insertInto("milestone")
      .values({
        pillar_id: target.pillar.id,
        series_id: target.series?.id ?? null,
        name,
        summary: args.text("summary") ?? "",
        date_targeted: date && /^\d{4}-\d\d-\d\d$/.test(date) ? new Date(date) : null,
      })
      .execute();
    return { created: `${target.pillar.name}/+milestone/${name}` };
  },
  newSeries: async (ctx, { target }, args) => {
    if (!(await rolesFor(ctx.db, ctx.actor, target)).isDriver)
      throw new ForbiddenError("Only drivers may create series.");
    const series = await ensureSeries(ctx.store, target.pillar, args.need("name"));
    return { created: `${target.pillar.name}/${series.name}` };
  },
  userHasBugSubscriptions: async (ctx, { target }) => {
    const mine = requireActor(ctx).identities;
    const rows = await ctx.db
      .selectFrom("structural_subscription")
      .select("id")
      .where("pillar_id", "=", target.pillar.id)
      .where("person_id", "in", [...mine])
      .execute();
    return { value: rows.length > 0 };
  },
  addBugSubscription: async (ctx, { target }, args) => {
    const person = await subscriber(ctx, args);
    await ctx.db
      .insertInto("structural_subscription")
      .values({
        pillar_id: target.pillar.id,
        package: target.package ?? null,
        person_id: person.id,
        level: "Discussion",
        date_created: ctx.store.now(),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return { value: null };
  },
  removeBugSubscription: async (ctx, { target }, args) => {
    const person = await subscriber(ctx, args);
    await ctx.db
      .deleteFrom("structural_subscription")
      .where("pillar_id", "=", target.pillar.id)
      .where("package", target.package === undefined ? "is" : "=", target.package ?? null)
      .where("person_id", "=", person.id)
      .execute();
    return { value: null };
  },
};

async function subscriber(ctx: Context, args: Args): Promise<Person> {
  const actor = requireActor(ctx);
  const path = args.text("subscriber");
  const person = path ? await personArgument(ctx, "subscriber", path) : actor.person;
  if (!isOneOf(actor, person.id)) throw new ForbiddenError(`${actor.person.name} may not subscribe ${person.name}.`);
  return person;
}

const TOP: Readonly<Record<string, Handler<"top">>> = {
  "bugs.searchTasks": async (ctx, _top, args) => ({ page: searchListing(ctx, await searchFrom(ctx, args, undefined)) }),
  "bugs.createBug": async (ctx, _top, args) => {
    const target = await targetArgument(ctx, "target", args.need("target"));
    if (target.series)
      throw new InvalidError(
        "target",
        "Can't create a bug on a series. Create it with a non-series task instead, and target it to the series.",
      );
    const isPrivateBug = args.bool("private") ?? false;
    const isSecurityBug = args.bool("security_related") ?? false;
    const informationType =
      args.text("information_type") ??
      (isSecurityBug ? (isPrivateBug ? "Private Security" : "Public Security") : isPrivateBug ? "Private" : "Public");
    const id = await createBug(ctx.store, ctx.actor, {
      title: args.need("title"),
      description: args.need("description"),
      targets: [target],
      tags: args.list("tags"),
      informationType,
    });
    return { created: `bugs/${id}` };
  },
  "people.find": async (ctx, _top, args) => ({ page: await peopleListing(ctx, args.need("text")) }),
  "people.findPerson": async (ctx, _top, args) => ({ page: await peopleListing(ctx, args.need("text"), false) }),
  "people.findTeam": async (ctx, _top, args) => ({ page: await peopleListing(ctx, args.need("text"), true) }),
  "people.getByEmail": async (ctx, _top, args) => {
    // An address is only looked up by who has it: the service tells nobody's.
    const person = ctx.actor?.person;
    return person?.email && person.email === args.need("email")
      ? { entry: await personEntry(ctx, person) }
      : { value: null };
  },
  "people.newTeam": async (ctx, _top, args) => {
    const actor = requireActor(ctx);
    const name = checkName("name", args.need("name"));
    if ((await findPerson(ctx.db, name)) !== undefined)
      throw new InvalidError("name", `${name} is already in use by another person or team.`);
    const team = await ensurePerson(ctx.store, {
      name,
      displayName: args.need("display_name"),
      isTeam: true,
      ownerId: actor.person.id,
    });
    await addMember(ctx.store, team, actor.person);
    return { created: `~${name}` };
  },
  "projects.search": async (ctx, _top, args) => ({ page: await pillarListing(ctx, "project", args.text("text")) }),
  "projects.latest": async (ctx) => ({ page: await pillarListing(ctx, "project") }),
  "projects.new_project": async (ctx, _top, args) => {
    const owner = requireActor(ctx).person;
    const name = checkName("name", args.need("name"));
    if ((await findPillar(ctx.db, name)) !== undefined)
      throw new InvalidError("name", `${name} is already used by another project`);
    await ensurePillar(ctx.store, "project", name, {
      displayName: checkText("display_name", args.need("display_name"), 200),
      owner,
      summary: args.text("summary"),
    });
    return { created: name };
  },
  "bug_trackers.getByName": async (ctx, _top, args) => tracker(ctx, "name", args.need("name")),
  "bug_trackers.queryByBaseURL": async (ctx, _top, args) =>
    tracker(ctx, "base_url", args.need("base_url").replace(/\/$/, "")),
  "bug_trackers.ensureBugTracker": async (ctx, _top, args) => {
    const base_url = args.need("base_url").replace(/\/$/, "");
    if (!/^https?:\/\/[^\s/]+/.test(base_url))
      throw new InvalidError("base_url", `"${base_url.slice(0, 80)}" is not a valid URI`);
    const name = checkName("name", args.text("name") ?? `auto-${new URL(base_url).hostname}`);
    const title = args.text("title") ?? new URL(base_url).hostname;
    await ctx.db
      .insertInto("tracker")
      .values({ name, title, base_url, kind: args.need("bug_tracker_type"), owner_id: requireActor(ctx).person.id })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const row = await ctx.db.selectFrom("tracker").select("name").where("base_url", "=", base_url).executeTakeFirst();
    if (row === undefined) throw new InvalidError("name", `${name} is already in use by another bug tracker.`);
    return { created: `bugs/bugtrackers/${row.name}` };
  },
};

async function tracker(ctx: Context, column: "name" | "base_url", value: string): Promise<Outcome> {
  const row = await ctx.db.selectFrom("tracker").selectAll().where(column, "=", value).executeTakeFirst();
  return row === undefined ? { value: null } : { entry: trackerEntry(ctx, row) };
}

/** @throws MissingRecordError-like InvalidError "No such operation: X" */
export async function invoke(ctx: Context, subject: Resource, op: string, args: Args): Promise<Outcome> {
  switch (subject.kind) {
    case "top":
      if (Object.hasOwn(TOP, `${subject.name}.${op}`)) return TOP[`${subject.name}.${op}`]!(ctx, subject, args);
      break;
    case "bug":
      if (Object.hasOwn(BUG, op)) return BUG[op]!(ctx, subject, args);
      break;
    case "target":
      if (Object.hasOwn(TARGET, op)) return TARGET[op]!(ctx, subject, args);
      break;
    case "person":
      if (op === "searchTasks") {
        const search = await searchFrom(ctx, args, undefined);
        return { page: searchListing(ctx, { ...search, person: subject.person.id }) };
      }
      if (op === "addMember") return join(ctx, subject.person, args);
      break;
    case "milestone":
      return {
        page: searchListing(ctx, { ...(await searchFrom(ctx, args, undefined)), milestone: subject.milestone.id }),
      };
    case "message":
      if (op === "getAPIParent") return { value: null };
      await change(ctx, subject.bug, (c) =>
        op === "editContent"
          ? editMessage(c, subject.message.index, args.need("new_content"))
          : setVisible(c, subject.message.index, false),
      );
      return { value: null };
    case "attachment":
      await change(ctx, subject.bug, (c) => removeAttachment(c, subject.attachment.id));
      return { value: null };
    case "nomination":
      if (op === "canApprove") {
        const series = await ctx.seriesById(subject.nomination.series_id);
        const roles = await rolesFor(ctx.db, ctx.actor, {
          pillar: await ctx.pillar(series.pillar_id),
          series,
          package: undefined,
        });
        return { value: roles.isSupervisor };
      }
      await change(ctx, subject.bug, (c) =>
        decide(c, subject.nomination.id, op === "approve" ? "Approved" : "Declined"),
      );
      return { value: null };
    case "subscription":
      return { value: isOneOf(ctx.actor, subject.subscription.person_id, subject.subscription.subscribed_by) };
    case "task":
      return { page: { of: "bug", count: async () => 0, read: async () => [] } };
  }
  throw new InvalidError("", `No such operation: ${op}`);
}

async function join(ctx: Context, team: Person, args: Args): Promise<Outcome> {
  if (!isOneOf(ctx.actor, team.owner_id)) throw new ForbiddenError(`Only the owner may add members to ${team.name}.`);
  await addMember(ctx.store, team, await personArgument(ctx, "person", args.need("person")));
  return { value: [true, "Approved"] };
}

export { personArgument };
