// What people say about a record, and the files they put to it. Message 0 is the description as it was reported.
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import type { Store } from "../store/open.ts";
import type { Attachment, Message } from "../store/schema.ts";
import { indexWords } from "./bugs.ts";
import { type Change, changeBug } from "./change.ts";
import { type Actor, type Db, isOneOf } from "./people.ts";
import { rolesFor, targetsOf } from "./targets.ts";
import { tasksOf } from "./tasks.ts";
import { checkText, STATUS } from "./words.ts";

export const LONGEST_COMMENT = 1_000_000;
export const LARGEST_ATTACHMENT = 256 << 20;

export interface NewMessage {
  readonly content: string;
  readonly subject?: string;
  /** Message-ID or the like of an imported message */
  readonly source?: string;
}

/** All messages a viewer of the record sees. */
export async function messagesOf(db: Db, bugId: number): Promise<Message[]> {
  return db.selectFrom("message").selectAll().where("bug_id", "=", bugId).orderBy("index").execute();
}

/** @returns the row, and the message's number in the record: 1 is the first comment */
export async function addMessage(
  change: Change,
  { content, subject, source }: NewMessage,
): Promise<{ id: number; index: number }> {
  const { db, bug, now, actor } = change;
  checkText("content", content, LONGEST_COMMENT);
  if (bug.lock_status !== "Unlocked")
    await requireSupervisor(change, "This bug is locked; only supervisors may comment.");
  const index = bug.message_count + change.entries.filter((entry) => entry.what === "comment").length;
  const { id } = await db
    .insertInto("message")
    .values({
      bug_id: bug.id,
      index,
      owner_id: actor.person.id,
      subject: subject?.slice(0, 500) || `Re: ${bug.title}`,
      content,
      date_created: now,
      source: source ?? null,
    })
    .returning("id")
    .executeTakeFirstOrThrow();
  await change.update({ message_count: index + 1, date_last_message: now });
  // An answer to "Incomplete" is what its second kind is for.
  await db
    .updateTable("bug_task")
    .set({ status: STATUS.IncompleteWithResponse })
    .where("bug_id", "=", bug.id)
    .where("status", "=", STATUS.IncompleteWithoutResponse)
    .execute();
  await indexWords(db, bug.id);
  change.log("comment", null, String(index));
  return { id, index };
}

async function requireSupervisor(change: Change, complaint: string): Promise<void> {
  for (const target of (await targetsOf(change.db, await tasksOf(change.db, change.bug.id))).values()) {
    if ((await rolesFor(change.db, change.actor, target)).isSupervisor) return;
  }
  throw new ForbiddenError(complaint);
}

async function messageAt(change: Change, index: number): Promise<Message> {
  const message = await change.db
    .selectFrom("message")
    .selectAll()
    .where("bug_id", "=", change.bug.id)
    .where("index", "=", index)
    .executeTakeFirst();
  if (message === undefined) throw new MissingRecordError(`comment ${index} of bug ${change.bug.id}`);
  return message;
}

/** Its author edits a comment; what it said before is kept. */
export async function editMessage(change: Change, index: number, content: string): Promise<void> {
  const { db, now } = change;
  checkText("content", content, LONGEST_COMMENT);
  const message = await messageAt(change, index);
  if (!isOneOf(change.actor, message.owner_id)) throw new ForbiddenError("Only its author may edit a comment.");
  if (message.content === content) return;
  const before = await db
    .selectFrom("message_revision")
    .select((eb) => eb.fn.countAll<string>().as("count"))
    .where("message_id", "=", message.id)
    .executeTakeFirstOrThrow();
  await db
    .insertInto("message_revision")
    .values({
      message_id: message.id,
      revision: Number(before.count) + 1,
      content: message.content,
      date_created: message.date_last_edited ?? message.date_created,
    })
    .execute();
  await db.updateTable("message").set({ content, date_last_edited: now }).where("id", "=", message.id).execute();
  await indexWords(db, change.bug.id);
  change.log("comment edited", String(index), null);
}

/** Hides a comment from everybody but its author and supervisors, or shows it again. */
export async function setVisible(change: Change, index: number, visible: boolean): Promise<void> {
  const message = await messageAt(change, index);
  if (!isOneOf(change.actor, message.owner_id))
    await requireSupervisor(change, "Only Bug Supervisors may hide a comment.");
  if (message.visible === visible) return;
  await change.db.updateTable("message").set({ visible }).where("id", "=", message.id).execute();
  await indexWords(change.db, change.bug.id);
  change.log(visible ? "comment shown" : "comment hidden", String(index), null);
}

export interface NewAttachment {
  readonly bytes: Uint8Array;
  readonly fileName: string;
  readonly contentType?: string;
  readonly isPatch?: boolean;
  readonly description?: string;
  readonly comment?: string;
}

/** Puts a file to a record, with the comment that brings it. The bytes are kept before the row that names them. */
export async function addAttachment(
  store: Store,
  actor: Actor | undefined,
  bugId: number,
  wanted: NewAttachment,
): Promise<Attachment> {
  if (wanted.bytes.length > LARGEST_ATTACHMENT) throw new InvalidError("data", "The file is too large.");
  const fileName = checkFileName(wanted.fileName);
  return changeBug(store, actor, bugId, async (change) => {
    const digest = await store.blobs.put(wanted.bytes);
    const message = await addMessage(change, {
      content: wanted.comment?.trim() || `Attachment: ${fileName}`,
      subject: wanted.description,
    });
    const isPatch = wanted.isPatch ?? false;
    const attachment = await change.db
      .insertInto("attachment")
      .values({
        bug_id: bugId,
        message_id: message.id,
        title: wanted.description?.slice(0, 200) || fileName,
        is_patch: isPatch,
        file_name: fileName,
        content_type: isPatch ? "text/plain" : checkContentType(wanted.contentType),
        digest,
        size: wanted.bytes.length,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    if (isPatch) await change.update({ latest_patch_uploaded: change.now });
    change.log("attachment added", null, `${attachment.title} (+attachment/${attachment.id})`);
    return attachment;
  });
}

/** The last part of a path without anything that a shell, a header or a folder would take amiss. */
function checkFileName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  const last = name.replace(/^.*[/\\]/, "").replace(/[\x00-\x1f\x7f"<>]/g, "_");
  if (last === "" || last === "." || last === "..") throw new InvalidError("filename", "Invalid file name.");
  return last.slice(0, 200);
}

function checkContentType(type: string | undefined): string {
  const plain = (type ?? "").split(";")[0]!.trim().toLowerCase();
  return /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(plain) && plain.length < 100 ? plain : "application/octet-stream";
}

export async function attachmentsOf(db: Db, bugId: number): Promise<Attachment[]> {
  return db.selectFrom("attachment").selectAll().where("bug_id", "=", bugId).orderBy("id").execute();
}

/** Its bringer, the reporter or a supervisor takes a file away; others keep theirs, even of the same bytes. */
export async function removeAttachment(change: Change, id: number): Promise<void> {
  const { db, bug, actor } = change;
  const row = await db
    .selectFrom("attachment")
    .innerJoin("message", "message.id", "attachment.message_id")
    .select(["attachment.title", "message.owner_id"])
    .where("attachment.id", "=", id)
    .where("attachment.bug_id", "=", bug.id)
    .executeTakeFirst();
  if (row === undefined) throw new MissingRecordError(`attachment ${id} of bug ${bug.id}`);
  if (!isOneOf(actor, row.owner_id, bug.owner_id))
    await requireSupervisor(change, "You may not remove this attachment.");
  await db.deleteFrom("attachment").where("id", "=", id).execute();
  change.log("attachment removed", `${row.title} (+attachment/${id})`, null);
}

export async function editAttachment(
  change: Change,
  id: number,
  edit: { title?: string; isPatch?: boolean },
): Promise<void> {
  const { db, bug } = change;
  const old = await db
    .selectFrom("attachment")
    .selectAll()
    .where("id", "=", id)
    .where("bug_id", "=", bug.id)
    .executeTakeFirst();
  if (old === undefined) throw new MissingRecordError(`attachment ${id} of bug ${bug.id}`);
  const title = edit.title === undefined ? old.title : checkText("title", edit.title, 200);
  const is_patch = edit.isPatch ?? old.is_patch;
  if (title === old.title && is_patch === old.is_patch) return;
  await db.updateTable("attachment").set({ title, is_patch }).where("id", "=", id).execute();
  change.log("attachment changed", old.title, is_patch ? `${title} (patch)` : title);
}
