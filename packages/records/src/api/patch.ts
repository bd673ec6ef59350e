// PATCH: fields of an entry, all or none, if nobody changed them since they were read.
import { ForbiddenError, InvalidError, MissingRecordError, StaleError } from "../errors.ts";
import { editBug } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { editAttachment } from "../model/messages.ts";
import type { Db } from "../model/people.ts";
import { isOneOf } from "../model/people.ts";
import { findPillar, rolesFor, setSupervisor } from "../model/targets.ts";
import { editTask } from "../model/tasks.ts";
import { checkText } from "../model/words.ts";
import { type Argument, type Arguments, checkPatch } from "./arguments.ts";
import type { Context } from "./context.ts";
import { entryJson, writableHalf } from "./entries.ts";
import { personArgument, targetArgument } from "./operations.ts";
import { entryOf, type Resource, resourceAt, typeOf } from "./resources.ts";
import { typeNamed } from "./types.ts";

/** @returns the entry's path, which is another one when a task was given another target */
export async function patch(
  ctx: Context,
  subject: Resource,
  path: string,
  body: unknown,
  ifMatch: string | undefined,
): Promise<string> {
  const type = typeOf(subject);
  if (type === "" || subject.kind === "top") throw new InvalidError("", "This resource cannot be changed.");
  const values = checkPatch(typeNamed(type), body);
  if (ctx.actor === undefined) throw new ForbiddenError("You must be logged in to change this.");
  const check = async (db: Db): Promise<void> => checkEtag(ctx.within(db), path, ifMatch);
  switch (subject.kind) {
    case "bug":
      await patchBug(ctx, subject.bug.id, values, check);
      return path;
    case "task":
      return patchTask(ctx, subject, path, values, check);
    case "attachment":
      await changeBug(
        ctx.store,
        ctx.actor,
        subject.bug.id,
        (change) =>
          editAttachment(change, subject.attachment.id, {
            title: text(values, "title"),
            isPatch: values.has("type") ? values.get("type") === "Patch" : undefined,
          }),
        { check },
      );
      return path;
    case "person": {
      if (!isOneOf(ctx.actor, subject.person.id, subject.person.owner_id))
        throw new ForbiddenError("You may not change this person.");
      await checkEtag(ctx, path, ifMatch);
      const name = text(values, "display_name");
      if (name !== undefined) {
        const display_name = checkText("display_name", name, 200);
        await ctx.db.updateTable("person").set({ display_name }).where("id", "=", subject.person.id).execute();
      }
      return path;
    }
    case "target": {
      if (!values.has("bug_supervisor_link")) return path;
      if (!(await rolesFor(ctx.db, ctx.actor, subject.target)).isDriver) {
        throw new ForbiddenError("Only owners may change the bug supervisor.");
      }
      await checkEtag(ctx, path, ifMatch);
      const link = values.get("bug_supervisor_link");
      const person = typeof link === "string" ? await personArgument(ctx, "bug_supervisor", link) : null;
      await setSupervisor(ctx.store, subject.target, person);
      return path;
    }
    default:
      return path;
  }
}

/** @throws StaleError when a writable field is not what the writer read */
async function checkEtag(ctx: Context, path: string, ifMatch: string | undefined): Promise<void> {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  const entry = await entryOf(ctx, await resourceAt(ctx, path));
  if (entry === undefined) throw new MissingRecordError(path);
  const current = writableHalf(String(entryJson(ctx, entry).http_etag));
  if (!ifMatch.split(",").some((tag) => writableHalf(tag) === current)) throw new StaleError();
}

function text(values: Arguments, name: string): string | undefined {
  const value = values.get(name);
  if (value === null) throw new InvalidError(name, "Required input is missing.");
  return typeof value === "string" ? value : undefined;
}

type Check = (db: Db) => Promise<void>;

async function patchBug(ctx: Context, id: number, values: Arguments, check: Check): Promise<void> {
  await changeBug(
    ctx.store,
    ctx.actor,
    id,
    async (change) => {
      const duplicate = values.get("duplicate_of_link");
      const tags = values.get("tags");
      await editBug(change, {
        title: text(values, "title"),
        description: text(values, "description"),
        tags: tags === null ? [] : Array.isArray(tags) ? (tags as readonly string[]) : undefined,
        informationType: informationType(change.bug.information_type, values),
        duplicateOf: duplicate === undefined ? undefined : duplicate === null ? null : bugNumber(duplicate),
      });
    },
    { check },
  );
}

function bugNumber(link: Argument): number {
  const match = /^bugs\/(\d{1,9})$/.exec(String(link));
  if (match === null) throw new InvalidError("duplicate_of", "Expected a link to a bug.");
  return Number(match[1]);
}

function informationType(now: string, values: Arguments): string | undefined {
  const given = text(values, "information_type");
  if (given !== undefined) return given;
  const flag = (name: string) => {
    const value = values.get(name);
    return typeof value === "boolean" ? value : undefined;
  };
  const hide = flag("private");
  const security = flag("security_related");
  if (hide === undefined && security === undefined) return undefined;
  const isHidden = hide ?? (now !== "Public" && now !== "Public Security");
  const isSecurity = security ?? now.endsWith("Security");
  if (isHidden) return isSecurity ? "Private Security" : "Private";
  return isSecurity ? "Public Security" : "Public";
}

async function patchTask(
  ctx: Context,
  subject: Extract<Resource, { kind: "task" }>,
  path: string,
  values: Arguments,
  check: Check,
): Promise<string> {
  const link = (name: string): string | null | undefined => {
    const value = values.get(name);
    return value === null || typeof value === "string" ? value : undefined;
  };
  const assignee = link("assignee_link");
  const milestone = link("milestone_link");
  const target = link("target_link");
  const watch = link("bug_watch_link");
  if (target === null) throw new InvalidError("target", "Required input is missing.");
  const edit = {
    status: text(values, "status"),
    importance: text(values, "importance"),
    assignee: typeof assignee === "string" ? await personArgument(ctx, "assignee", assignee) : assignee,
    milestone: typeof milestone === "string" ? await milestoneAt(ctx, milestone) : milestone,
    target: target === undefined ? undefined : await targetArgument(ctx, "target", target),
  };
  const id = subject.task.id;
  await changeBug(
    ctx.store,
    ctx.actor,
    subject.bug.id,
    async (change) => {
      await editTask(change, id, edit);
      if (watch !== undefined) {
        const number = watch === null ? null : Number(/\+watch\/(\d{1,9})$/.exec(watch)?.[1] ?? "0");
        const there =
          number === null ||
          (await change.db
            .selectFrom("watch")
            .select("id")
            .where("id", "=", number)
            .where("bug_id", "=", change.bug.id)
            .executeTakeFirst());
        if (!there) throw new InvalidError("bug_watch", "No such watch of this bug.");
        await change.db.updateTable("bug_task").set({ watch_id: number }).where("id", "=", id).execute();
        change.log(
          "bug watch",
          subject.task.watch_id === null ? null : String(subject.task.watch_id),
          number === null ? null : String(number),
        );
      }
    },
    { check },
  );
  if (edit.target === undefined) return path;
  const row = await ctx.db.selectFrom("bug_task").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
  const entry = await entryOf(ctx, { ...subject, task: row });
  return entry?.path ?? path;
}

async function milestoneAt(ctx: Context, path: string) {
  const [pillarName = "", , name = ""] = path.split("/");
  const pillar = await findPillar(ctx.db, pillarName);
  const row =
    pillar &&
    (await ctx.db
      .selectFrom("milestone")
      .selectAll()
      .where("pillar_id", "=", pillar.id)
      .where("name", "=", name)
      .executeTakeFirst());
  if (!row) throw new InvalidError("milestone", `No such object "${path.slice(0, 80)}".`);
  return row;
}
