// Records for elsewhere: JSON that import takes back, and a mail folder.
import { InvalidError } from "../errors.ts";
import { readBug } from "../model/access.ts";
import type { Actor } from "../model/people.ts";
import { targetPath } from "../model/targets.ts";
import { importanceTitle, statusTitle } from "../model/words.ts";
import type { Store } from "../store/open.ts";
import type { Person } from "../store/schema.ts";
import { type BugData, readBugData } from "../web/bug-data.ts";
import type { PlainPerson, PlainRecord } from "./import.ts";
import { mailDate } from "./text.ts";

export const RECORDS_SCHEMA = "palimpsest/records/1";

function plainPerson({ name, display_name }: Person): PlainPerson {
  return { name, displayName: display_name };
}

export async function plainRecord(store: Store, actor: Actor | undefined, id: number): Promise<PlainRecord> {
  await readBug(store.db, actor, id);
  const data = await readBugData(store, actor, id);
  return fromData(data);
}

function fromData({ bug, tasks, messages, people }: BugData): PlainRecord {
  const who = (id: number) => plainPerson(people.get(id)!);
  return {
    id: bug.id,
    title: bug.title,
    description: bug.description,
    reporter: who(bug.owner_id),
    date: bug.date_created.toISOString(),
    tags: bug.tags,
    informationType: bug.information_type,
    tasks: tasks.map(({ task, target }) => ({
      target: targetPath(target),
      status: statusTitle(task.status),
      importance: importanceTitle(task.importance),
      ...(task.assignee_id === null ? {} : { assignee: who(task.assignee_id) }),
    })),
    messages: messages
      .filter((message) => message.index > 0)
      .map((message) => ({
        author: who(message.owner_id),
        date: message.date_created.toISOString(),
        subject: message.subject,
        content: message.content,
      })),
    ...(bug.signature === null ? {} : { signature: bug.signature, cause: bug.cause }),
  };
}

export function recordsJson(records: readonly PlainRecord[]): string {
  return `${JSON.stringify({ schema: RECORDS_SCHEMA, records }, null, 2)}\n`;
}

/** @throws InvalidError */
export function parseRecords(text: string): PlainRecord[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidError("", `is no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null) throw new InvalidError("", "is no export of records");
  const { schema, records } = value as { schema?: unknown; records?: unknown };
  if (schema !== RECORDS_SCHEMA || !Array.isArray(records)) throw new InvalidError("", `is not ${RECORDS_SCHEMA}`);
  return records.map(checkRecord);
}

function checkRecord(value: unknown, at: number): PlainRecord {
  const bad = (what: string) => new InvalidError("", `record ${at + 1}: ${what}`);
  if (typeof value !== "object" || value === null) throw bad("is no object");
  const record = value as Partial<PlainRecord>;
  const isPerson = (each: unknown): boolean =>
    typeof each === "object" && each !== null && typeof (each as PlainPerson).name === "string";
  if (typeof record.title !== "string" || typeof record.description !== "string")
    throw bad("has no title or description");
  if (!isPerson(record.reporter)) throw bad("has no reporter");
  if (!Array.isArray(record.tasks) || !record.tasks.every((task) => typeof task?.target === "string"))
    throw bad("has no tasks");
  const messages = record.messages ?? [];
  if (
    !Array.isArray(messages) ||
    !messages.every((each) => typeof each?.content === "string" && isPerson(each?.author))
  ) {
    throw bad("has messages without content or author");
  }
  return { ...record, messages } as PlainRecord;
}

export function recordMbox({ id, title, description, reporter, date, messages }: PlainRecord): string {
  const mail = (
    index: number,
    author: PlainPerson,
    when: string | undefined,
    subject: string,
    content: string,
  ): string => {
    const at = new Date(when ?? 0);
    const head = [
      `From ${author.name} ${at.toUTCString().replace(/,| GMT/g, "")}`,
      `From: ${author.displayName ?? author.name} <${author.name}@records.invalid>`,
      `Date: ${mailDate(at)}`,
      `Subject: ${subject.replace(/\s+/g, " ")}`,
      `Message-ID: <bug-${id}-${index}@records.invalid>`,
      ...(index > 0 ? [`In-Reply-To: <bug-${id}-0@records.invalid>`, `References: <bug-${id}-0@records.invalid>`] : []),
      "MIME-Version: 1.0",
      'Content-Type: text/plain; charset="utf-8"',
      "Content-Transfer-Encoding: 8bit",
    ];
    return `${head.join("\n")}\n\n${content.replace(/^(>*From )/gm, ">$1")}\n\n`;
  };
  return [
    mail(0, reporter, date, title, description),
    ...messages.map((each, at) => mail(at + 1, each.author, each.date, each.subject ?? `Re: ${title}`, each.content)),
  ].join("");
}
