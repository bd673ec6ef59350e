// `record comment|task|duplicate|attach|tag|subscribe|…`: changes of a record from the shell.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Command } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import { print } from "../../terminal.ts";
import { actingCommand, recordNumber, type StoreContext, type StoreOptions, withStore } from "./store.ts";

interface EditOptions extends StoreOptions {
  readonly status?: string;
  readonly importance?: string;
  readonly assignee?: string;
  readonly patch?: boolean;
  readonly comment?: string;
  readonly title?: string;
  readonly description?: string;
  readonly tags?: string;
  readonly informationType?: string;
}

type Work = (context: StoreContext, id: number) => Promise<string>;

function edit(options: EditOptions, number: string, work: Work): Promise<void> {
  return withStore(options, async (context) => {
    const id = recordNumber(number);
    const done = await work(context, id);
    print(
      options.json ? `${JSON.stringify({ schema: "palimpsest/record-change/1", id, done })}\n` : `#${id}  ${done}\n`,
    );
    return 0;
  });
}

/** "-" is what stands on stdin. */
function textArgument(text: string): string {
  return text === "-" ? readFileSync(0, "utf8") : text;
}

export function registerRecordEdit(parent: Command): void {
  actingCommand(parent, "comment <number> <text>", "say something about a record (- reads stdin)").action(
    (number: string, text: string, options: EditOptions) =>
      edit(options, number, async ({ records, store, actor }, id) => {
        const content = textArgument(text);
        const { index } = await records.changeBug(store, actor, id, (change) =>
          records.addMessage(change, { content }),
        );
        return `comment ${index}`;
      }),
  );

  actingCommand(parent, "task <number> [target]", "set a task's fields; a target that has none yet gets a task")
    .option("--status <status>", "New, Confirmed, Triaged, 'In Progress', 'Fix Committed', 'Fix Released', …")
    .option("--importance <importance>", "Critical, High, Medium, Low, Wishlist, Undecided")
    .option("--assignee <name>", "a person, or nobody")
    .action((number: string, target: string | undefined, options: EditOptions) =>
      edit(options, number, (context, id) => setTask(context, id, target, options)),
    );

  actingCommand(parent, "duplicate <number> <of>", "mark a record as a duplicate of another (or of none)").action(
    (number: string, of: string, options: EditOptions) =>
      edit(options, number, async ({ records, store, actor }, id) => {
        const duplicateOf = of === "none" ? null : recordNumber(of);
        await records.changeBug(store, actor, id, (change) => records.editBug(change, { duplicateOf }));
        return duplicateOf === null ? "no duplicate" : `a duplicate of #${duplicateOf}`;
      }),
  );

  actingCommand(parent, "attach <number> <file>", "put a file to a record")
    .option("--patch", "it is a patch")
    .option("--comment <text>", "the comment that brings it")
    .action((number: string, file: string, options: EditOptions) =>
      edit(options, number, async ({ records, store, actor }, id) => {
        const { patch: isPatch, comment } = options;
        const made = await records.addAttachment(store, actor, id, {
          bytes: readFileSync(file),
          fileName: basename(file),
          isPatch,
          comment,
        });
        return `attachment ${made.id}: ${made.title}, ${made.size} bytes, SHA-256 ${made.digest}`;
      }),
    );

  actingCommand(parent, "edit <number>", "set a record's title, description, tags or who sees it")
    .option("--title <text>", "the title")
    .option("--description <text>", "the description (- reads stdin)")
    .option("--tags <tags>", "all tags, with blanks between them")
    .option("--information-type <type>", "Public, Private, 'Private Security', …")
    .action((number: string, options: EditOptions) =>
      edit(options, number, async ({ records, store, actor }, id) => {
        const { title, tags, description, informationType } = options;
        const values = {
          title,
          informationType,
          description: description === undefined ? undefined : textArgument(description),
          tags: tags?.split(/[\s,]+/).filter(Boolean),
        };
        await records.changeBug(store, actor, id, (change) => records.editBug(change, values));
        return "changed";
      }),
    );

  for (const [name, what] of [
    ["subscribe", "tell a person of every change"],
    ["unsubscribe", "tell a person no more"],
  ] as const) {
    actingCommand(parent, `${name} <number> [person]`, what).action(
      (number: string, person: string | undefined, options: EditOptions) =>
        edit(options, number, async ({ records, store, actor }, id) => {
          const who = person === undefined ? actor.person : await records.ensurePerson(store, { name: person });
          await records.changeBug(store, actor, id, (change) => records[name](change, who));
          return `${name}d ${who.name}`;
        }),
    );
  }
}

async function setTask(
  { records, store, actor }: StoreContext,
  id: number,
  path: string | undefined,
  options: EditOptions,
): Promise<string> {
  const assignee =
    options.assignee === undefined
      ? undefined
      : options.assignee === "nobody"
        ? null
        : await records.ensurePerson(store, { name: options.assignee });
  const wanted = path === undefined ? undefined : await records.ensureTarget(store, path);
  return records.changeBug(store, actor, id, async (change) => {
    const find = async () => {
      const tasks = await records.tasksOf(change.db, id);
      if (wanted !== undefined) return tasks.find((task) => records.isTaskOf(task, wanted));
      if (tasks.length > 1)
        throw new UsageError(`#${id} has ${tasks.length} tasks`, "Name the target: palimpsest record show tells them.");
      return tasks[0];
    };
    if ((await find()) === undefined && wanted !== undefined) await records.addTask(change, wanted);
    const task = (await find())!;
    await records.editTask(change, task.id, { status: options.status, importance: options.importance, assignee });
    const target = (await records.targetsOf(change.db, [task])).get(task.id)!;
    const now = (await find())!;
    return `${records.targetName(target)}: ${records.statusTitle(now.status)}, ${records.importanceTitle(now.importance)}`;
  });
}
