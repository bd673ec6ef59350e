// Records from elsewhere: Launchpad's +text form, mail folders, and Palimpsest's own JSON. All become the same plain
// object first; one function writes it, so that an import is whole or not there.
import PostalMime from "postal-mime";
import { InvalidError } from "../errors.ts";
import { createBug, LONGEST_DESCRIPTION } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { addMessage } from "../model/messages.ts";
import { actorFor, ensurePerson, findPerson } from "../model/people.ts";
import { ensureSeries, ensureTarget, findPillar, type Target } from "../model/targets.ts";
import { addTask, editTask, isTaskOf, tasksOf } from "../model/tasks.ts";
import type { Store } from "../store/open.ts";
import type { Person } from "../store/schema.ts";

export interface PlainPerson {
  readonly name: string;
  readonly displayName?: string;
}

export interface PlainTask {
  /** "ubuntu/oneiric/+source/linux" */
  readonly target: string;
  readonly status?: string;
  readonly importance?: string;
  readonly assignee?: PlainPerson;
}

export interface PlainMessage {
  readonly author: PlainPerson;
  readonly date?: string;
  readonly subject?: string;
  readonly content: string;
  readonly source?: string;
}

export interface PlainRecord {
  readonly id?: number;
  readonly title: string;
  readonly description: string;
  readonly reporter: PlainPerson;
  readonly date?: string;
  readonly tags?: readonly string[];
  readonly informationType?: string;
  readonly tasks: readonly PlainTask[];
  readonly messages: readonly PlainMessage[];
  readonly signature?: string;
  readonly cause?: unknown;
}

/** "Stefan Bader (smb)", "smb", "Stefan Bader <smb@example.org>" */
export function parsePerson(text: string): PlainPerson {
  const named = /^(.*\S)\s*\(([^()\s]+)\)$/.exec(text.trim());
  if (named !== null) return { name: personName(named[2]!), displayName: named[1] };
  const mail = /^"?(.*?)"?\s*<([^<>@\s]+)@[^<>\s]*>$/.exec(text.trim());
  if (mail !== null) return { name: personName(mail[2]!), displayName: mail[1] || mail[2] };
  return { name: personName(text), displayName: text.trim() || undefined };
}

function personName(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/@.*$/, "")
    .replace(/[^a-z0-9+.-]+/g, "-")
    .replace(/^[^a-z0-9]+|-+$/g, "");
  return plain.slice(0, 80) || "unknown";
}

/** "linux (Ubuntu Oneiric)" → "ubuntu/oneiric/+source/linux"; "Ubuntu" and "bzr" are themselves. */
export function targetFromName(name: string): string {
  const packaged = /^(\S+) \((\S+)(?: (.+))?\)$/.exec(name.trim());
  if (packaged !== null) {
    const [, source, pillar, series] = packaged;
    return [
      pillar!.toLowerCase(),
      ...(series ? [series.toLowerCase().replace(/\s+/g, "-")] : []),
      "+source",
      source,
    ].join("/");
  }
  return name.trim().toLowerCase().replace(/\s+/g, "/");
}

function block(text: string): ReadonlyMap<string, string> {
  const out = new Map<string, string>();
  let name: string | undefined;
  for (const line of text.split("\n")) {
    const head = /^([a-z][a-z-]*):\s?(.*)$/.exec(line);
    if (head !== null) {
      name = head[1]!;
      out.set(name, head[2]!.trim());
    } else if (/^\s/.test(line) && name !== undefined) out.set(name, `${out.get(name)}\n${line.trim()}`);
  }
  return out;
}

/** Launchpad's +text. @throws InvalidError */
export async function parseText(text: string): Promise<PlainRecord> {
  const normal = text.replace(/\r\n/g, "\n");
  const mimeAt = normal.search(/^Content-Type: multipart\//m);
  const head = mimeAt < 0 ? normal : normal.slice(0, mimeAt);
  const blocks = head.split(/\n\n+/).filter((each) => each.trim() !== "");
  const bug = block(blocks[0] ?? "");
  const title = bug.get("title") ?? "";
  if (!bug.has("bug") || title === "")
    throw new InvalidError("", 'is no +text of a bug: it starts with "bug: N" and "title: …"');
  const tasks = blocks.slice(1).flatMap((each): PlainTask[] => {
    const fields = block(each);
    const name = fields.get("task");
    if (name === undefined) return [];
    const assignee = fields.get("assignee") ?? "";
    return [
      {
        target: targetFromName(name),
        status: fields.get("status"),
        importance: fields.get("importance"),
        assignee: assignee === "" ? undefined : parsePerson(assignee),
      },
    ];
  });
  const messages = mimeAt < 0 ? [] : await parseParts(normal.slice(mimeAt));
  const [first, ...comments] = messages;
  const isPrivate = bug.get("private") === "yes";
  const isSecurity = bug.get("security") === "yes";
  return {
    id: Number(bug.get("bug")) || undefined,
    title,
    description: first?.content ?? title,
    reporter: parsePerson(bug.get("reporter") ?? "unknown"),
    date: bug.get("date-reported") ?? first?.date,
    tags: (bug.get("tags") ?? "").split(/\s+/).filter(Boolean),
    informationType: isPrivate
      ? isSecurity
        ? "Private Security"
        : "Private"
      : isSecurity
        ? "Public Security"
        : "Public",
    tasks,
    messages: comments,
  };
}

/** The parts of Launchpad's multipart: each a message with its own Author and Date. */
async function parseParts(mime: string): Promise<PlainMessage[]> {
  const boundary = /boundary="?([^"\n]+)"?/.exec(mime)?.[1];
  if (boundary === undefined) return [];
  const parts = mime
    .split(`\n--${boundary}`)
    .slice(1)
    .filter((part) => !part.startsWith("--"));
  const out: PlainMessage[] = [];
  for (const part of parts) out.push(await parseMail(part.replace(/^\n/, "")));
  return out;
}

async function parseMail(raw: string): Promise<PlainMessage> {
  const mail = await PostalMime.parse(raw);
  const header = (name: string) => mail.headers.find((each) => each.key === name)?.value;
  const from = mail.from?.address ? `${mail.from.name ?? ""} <${mail.from.address}>` : (mail.from?.name ?? "");
  return {
    author: parsePerson(header("author") ?? (from.trim() || "unknown")),
    date: mail.date ?? header("date"),
    subject: mail.subject,
    content: (mail.text ?? "").replace(/\r\n/g, "\n").replace(/\n+$/, "") || "(no text)",
    source: mail.messageId,
  };
}

/** A mail folder: threads by Message-ID; the first mail of a thread is the report, its answers are comments. */
export async function parseMbox(text: string): Promise<PlainRecord[]> {
  const raws = text
    .replace(/\r\n/g, "\n")
    .split(/^From .*\n/m)
    .slice(1);
  const threads = new Map<string, { root: PlainMessage; rest: PlainMessage[] }>();
  const threadOf = new Map<string, string>();
  for (const raw of raws) {
    const mail = await parseMail(raw.replace(/^>(>*From )/gm, "$1"));
    const id = mail.source ?? `no-id-${threadOf.size}`;
    const references = [
      ...(/^(?:References|In-Reply-To):((?:.|\n[ \t])*)/gim.exec(raw)?.[1] ?? "").matchAll(/<[^<>\s]+>/g),
    ].map((match) => match[0]);
    const root = references.map((each) => threadOf.get(each)).find((each) => each !== undefined);
    threadOf.set(id, root ?? id);
    if (root === undefined) threads.set(id, { root: mail, rest: [] });
    else threads.get(root)!.rest.push(mail);
  }
  return [...threads.values()].map(({ root, rest }) => ({
    title: (root.subject ?? "").replace(/\s+/g, " ").trim() || "(no subject)",
    description: root.content,
    reporter: root.author,
    date: root.date,
    tasks: [],
    messages: rest,
  }));
}

export interface ImportOptions {
  /** where a record without tasks goes: "linux" */
  readonly target: string;
  /** keep the number that it has elsewhere, if it is free here */
  readonly keepNumbers?: boolean;
}

/** @returns the record's number here */
export async function importRecord(store: Store, record: PlainRecord, options: ImportOptions): Promise<number> {
  const reporter = await person(store, record.reporter);
  const targets: Target[] = [];
  const tasks = record.tasks.length > 0 ? record.tasks : [{ target: options.target }];
  for (const task of tasks) {
    const pillarName = task.target.split("/")[0]!;
    const pillar = await findPillar(store.db, pillarName);
    const seriesName = /^[^/]+\/([^/+][^/]*)/.exec(task.target)?.[1];
    if (pillar?.kind === "distribution" && seriesName) await ensureSeries(store, pillar, seriesName);
    targets.push(await ensureTarget(store, task.target));
  }
  const taken =
    record.id === undefined || !options.keepNumbers
      ? true
      : (await store.db.selectFrom("bug").select("id").where("id", "=", record.id).executeTakeFirst()) !== undefined;
  const date = dateOf(record.date) ?? store.now();
  const actor = await actorFor(store, reporter);
  const people = new Map<string, Person>();
  for (const message of record.messages) people.set(message.author.name, await person(store, message.author));
  for (const task of record.tasks)
    if (task.assignee) people.set(task.assignee.name, await person(store, task.assignee));
  const id = await createBug(store, actor, {
    id: taken ? undefined : record.id,
    title: record.title.slice(0, 200),
    description: clean(record.description).slice(0, LONGEST_DESCRIPTION),
    targets: targets.slice(0, 1),
    tags: record.tags?.map((tag) => tag.toLowerCase()).filter((tag) => /^[a-z0-9][a-z0-9+.-]*$/.test(tag)),
    informationType: record.informationType,
    signature: record.signature,
    cause: record.cause,
    date,
    quiet: true,
  });
  const all = { ...actor, isAll: true };
  await changeBug(
    store,
    all,
    id,
    async (change) => {
      for (const target of targets.slice(1)) {
        const there = await tasksOf(change.db, id);
        if (!there.some((task) => isTaskOf(task, target))) await addTask(change, target);
      }
      const made = await tasksOf(change.db, id);
      for (const [at, wanted] of record.tasks.entries()) {
        const task = made.find((each) => isTaskOf(each, targets[at]!));
        if (task === undefined) continue;
        const assignee = wanted.assignee && people.get(wanted.assignee.name);
        await editTask(change, task.id, {
          status: wanted.status || undefined,
          importance: wanted.importance || undefined,
          assignee,
        });
      }
    },
    { date, quiet: true },
  );
  for (const message of record.messages) {
    const author = { ...(await actorFor(store, people.get(message.author.name)!)), isAll: true };
    await changeBug(
      store,
      author,
      id,
      (change) => addMessage(change, { ...message, content: clean(message.content) }),
      {
        date: dateOf(message.date) ?? date,
        quiet: true,
      },
    );
  }
  return id;
}

function dateOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const date = new Date(text.replace(/-0000$/, "GMT"));
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\x00-\x08\x0b\x0e-\x1f]/g, "\ufffd") || "(no text)";
}

async function person(store: Store, { name, displayName }: PlainPerson): Promise<Person> {
  return (await findPerson(store.db, name)) ?? ensurePerson(store, { name, displayName: displayName?.slice(0, 200) });
}
