// `record list|search|show|export`: what is in the store.
import type { Command } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import { print } from "../../terminal.ts";
import { recordNumber, type StoreContext, type StoreOptions, storeCommand, withStore } from "./store.ts";

interface ReadOptions extends StoreOptions {
  readonly target?: string;
  readonly status?: readonly string[];
  readonly tag?: readonly string[];
  readonly limit?: string;
  readonly form?: string;
}

const LIMIT = 50;

export function registerRecordRead(parent: Command): void {
  const listing = (name: string, description: string) =>
    storeCommand(parent, name, description)
      .option("--target <path>", "only of this: ubuntu/+source/linux")
      .option("--status <status...>", "only with these (default: all that are open)")
      .option("--tag <tag...>", "only with one of these tags")
      .option("--limit <n>", "how many (0: all)", String(LIMIT));
  listing("list", "open records, the most important first").action((options: ReadOptions) => list(options, undefined));
  listing("search <words...>", "records by words of title, description and comments").action(
    (words: string[], options: ReadOptions) => list(options, words.join(" ")),
  );
  storeCommand(parent, "show <number>", "a record with its tasks, comments and what happened").action(
    (number: string, options: ReadOptions) =>
      withStore(options, (context) => show(context, recordNumber(number), options)),
  );
  storeCommand(parent, "export [numbers...]", "records as JSON, Launchpad's +text or a mail folder (default: all)")
    .option("--form <form>", "json, text or mbox", "json")
    .action((numbers: string[], options: ReadOptions) =>
      withStore(options, (context) => exportRecords(context, numbers, options)),
    );
}

async function list(options: ReadOptions, text: string | undefined): Promise<void> {
  await withStore(options, async ({ records, store, actor }) => {
    const target = options.target === undefined ? undefined : await records.targetAt(store.db, options.target);
    const search = { text, target, statuses: options.status, tags: options.tag };
    const limit = Number(options.limit ?? LIMIT);
    if (!Number.isInteger(limit) || limit < 0) throw new UsageError(`"${options.limit}" is no number of records`);
    const tasks = await records.searchTasks(store.db, actor, search, { start: 0, size: limit || 1_000_000 });
    const total = await records.countTasks(store.db, actor, search, 1_000_000);
    const targets = await records.targetsOf(store.db, tasks);
    const rows = [];
    for (const task of tasks) {
      const bug = await records.readBug(store.db, actor, task.bug_id);
      const { id, title, heat, duplicate_of, tags, signature } = bug;
      rows.push({
        id,
        title,
        target: records.targetName(targets.get(task.id)!),
        status: records.statusTitle(task.status),
        importance: records.importanceTitle(task.importance),
        heat,
        tags,
        duplicateOf: duplicate_of,
        signature,
      });
    }
    if (options.json)
      print(`${JSON.stringify({ schema: "palimpsest/record-list/1", total, records: rows }, null, 2)}\n`);
    else {
      for (const row of rows)
        print(
          `#${String(row.id).padEnd(7)} ${row.status.padEnd(13)} ${row.importance.padEnd(9)} ${row.target}: ${row.title}\n`,
        );
      print(
        rows.length < total
          ? `${rows.length} of ${total} shown, --limit 0 for all\n`
          : `${total} ${total === 1 ? "record" : "records"}\n`,
      );
    }
    return 0;
  });
}

async function show({ records, store, actor }: StoreContext, id: number, options: ReadOptions): Promise<number> {
  if (options.json) {
    print(records.recordsJson([await records.plainRecord(store, actor, id)]));
    return 0;
  }
  const data = await records.readBugData(store, actor, id);
  const { bug, tasks, people, attachments } = data;
  const who = (person: number): string => {
    const found = people.get(person)!;
    return `${found.display_name} (${found.name})`;
  };
  const day = (date: Date): string => date.toISOString().slice(0, 16).replace("T", " ");
  const lines = [
    bug.title,
    `Bug #${bug.id} reported by ${who(bug.owner_id)} on ${day(bug.date_created)}   heat ${bug.heat}   ${bug.information_type}`,
    ...(bug.duplicate_of === null ? [] : [`A duplicate of #${bug.duplicate_of}`]),
    "",
    ...tasks.map(({ task, target }) => {
      const assignee = task.assignee_id === null ? "Unassigned" : who(task.assignee_id);
      const name = target.series ? `  ${records.targetName(target)}` : records.targetName(target);
      return `${name.padEnd(30)} ${records.statusTitle(task.status).padEnd(14)} ${records.importanceTitle(task.importance).padEnd(10)} ${assignee}`;
    }),
    "",
    bug.description,
    ...(bug.tags.length > 0 ? ["", `Tags: ${bug.tags.join(" ")}`] : []),
  ];
  for (const part of records.timeline(data.messages, data.activity)) {
    lines.push("");
    if (part.kind === "activity") {
      lines.push(`${day(part.date)}  ${who(part.personId)}${part.target && `, changed in ${part.target}`}`);
      for (const line of part.lines) lines.push(`  ${line}`);
      continue;
    }
    const { message } = part;
    lines.push(`#${message.index}  ${who(message.owner_id)} wrote on ${day(message.date_created)}:`, message.content);
    for (const file of attachments.filter((each) => each.message_id === message.id))
      lines.push(`  attached: ${file.title} (${file.size} bytes)`);
  }
  const [first] = tasks;
  if (first?.target.package !== undefined) {
    const states = await records.versionStates(store.db, id, first.target.pillar.id, first.target.package);
    const marked = states.filter(({ state }) => state !== "unknown");
    if (marked.length > 0)
      lines.push("", "Versions:", ...marked.slice(0, 20).map(({ version, state }) => `  ${version}  ${state}`));
  }
  print(`${lines.join("\n")}\n`);
  return 0;
}

async function exportRecords(
  { records, store, actor }: StoreContext,
  numbers: readonly string[],
  { form }: ReadOptions,
): Promise<number> {
  const ids =
    numbers.length > 0
      ? numbers.map(recordNumber)
      : (await store.db.selectFrom("bug").select("id").orderBy("id").execute()).map((row) => row.id);
  if (form === "text") {
    for (const id of ids) print(await records.bugText(store, actor, id));
    return 0;
  }
  const plain = [];
  for (const id of ids) plain.push(await records.plainRecord(store, actor, id));
  if (form === "mbox") for (const each of plain) print(records.recordMbox(each));
  else if (form === "json") print(records.recordsJson(plain));
  else throw new UsageError(`"${form}" is no form of records`, "There are json, text and mbox.");
  return 0;
}
