// Search over tasks, with Launchpad's searchTasks arguments. Every search starts from what the viewer may see, so that
// neither a result nor a count tells of a private record.
import { type RawBuilder, type SqlBool, sql } from "kysely";
import { InvalidError } from "../errors.ts";
import type { BugTask } from "../store/schema.ts";
import { seenBy } from "./access.ts";
import type { Actor, Db } from "./people.ts";
import type { Target } from "./targets.ts";
import { OPEN_STATUSES, oneOf, parseImportance, parseSearchStatus } from "./words.ts";

export interface Search {
  readonly text?: string;
  readonly target?: Target;
  readonly statuses?: readonly string[];
  readonly importances?: readonly string[];
  readonly informationTypes?: readonly string[];
  readonly tags?: readonly string[];
  readonly tagsCombinator?: string;
  readonly assignee?: number | null;
  readonly reporter?: number;
  readonly subscriber?: number;
  readonly commenter?: number;
  readonly affected?: number;
  readonly owner?: number;
  readonly milestone?: number;
  readonly omitDuplicates?: boolean;
  readonly omitTargeted?: boolean;
  readonly hasPatch?: boolean;
  readonly hasCve?: boolean;
  readonly hasNoPackage?: boolean;
  readonly createdSince?: Date;
  readonly createdBefore?: Date;
  readonly modifiedSince?: Date;
  /** any tie of a person to a record: reporter, assignee, subscriber, commenter */
  readonly person?: number;
  readonly orderBy?: readonly string[];
}

const ORDERS: Readonly<Record<string, string>> = {
  id: "bug.id",
  importance: "t.importance",
  status: "t.status",
  title: "bug.title",
  datecreated: "bug.date_created",
  date_created: "bug.date_created",
  date_last_updated: "bug.date_last_updated",
  date_last_message: "bug.date_last_message",
  heat: "bug.heat",
  message_count: "bug.message_count",
  number_of_duplicates: "bug.number_of_duplicates",
  users_affected_count: "bug.users_affected_count",
  latest_patch_uploaded: "bug.latest_patch_uploaded",
  assignee: "t.assignee_id",
  reporter: "bug.owner_id",
  owner: "bug.owner_id",
  targetname: "t.package",
  date_closed: "t.date_closed",
  relevance: "rank",
};

function conditions(search: Search): RawBuilder<SqlBool>[] {
  const all: RawBuilder<SqlBool>[] = [];
  const statuses = search.statuses?.flatMap(parseSearchStatus) ?? OPEN_STATUSES;
  all.push(sql`t.status in (${sql.join(statuses)})`);
  if (search.importances) all.push(sql`t.importance in (${sql.join(search.importances.map(parseImportance))})`);
  if (search.informationTypes) all.push(sql`bug.information_type in (${sql.join([...search.informationTypes])})`);
  const { target } = search;
  if (target) {
    all.push(sql`t.pillar_id = ${target.pillar.id}`);
    if (target.series) all.push(sql`t.series_id = ${target.series.id}`);
    else all.push(sql`t.series_id is null`);
    if (target.package) all.push(sql`t.package = ${target.package}`);
  } else {
    // A series' task is shown by its general task where there is one, as on Launchpad's front page.
    all.push(sql`(t.series_id is null or not exists (select from bug_task g where g.bug_id = t.bug_id
      and g.pillar_id = t.pillar_id and g.package is not distinct from t.package and g.series_id is null))`);
  }
  if (search.text?.trim()) all.push(matchText(search.text));
  if (search.tags && search.tags.length > 0) all.push(matchTags(search.tags, search.tagsCombinator ?? "Any"));
  if (search.assignee !== undefined) all.push(sql`t.assignee_id is not distinct from ${search.assignee}::integer`);
  if (search.reporter !== undefined) all.push(sql`bug.owner_id = ${search.reporter}`);
  if (search.owner !== undefined) all.push(sql`t.owner_id = ${search.owner}`);
  if (search.milestone !== undefined) all.push(sql`t.milestone_id = ${search.milestone}`);
  if (search.subscriber !== undefined)
    all.push(sql`exists (select from subscription s where s.bug_id = bug.id and s.person_id = ${search.subscriber})`);
  if (search.commenter !== undefined)
    all.push(
      sql`exists (select from message m where m.bug_id = bug.id and m.index > 0 and m.owner_id = ${search.commenter})`,
    );
  if (search.affected !== undefined)
    all.push(
      sql`exists (select from affected a where a.bug_id = bug.id and a.person_id = ${search.affected} and a.affected)`,
    );
  if (search.person !== undefined) {
    const id = search.person;
    all.push(sql`(bug.owner_id = ${id} or t.assignee_id = ${id}
      or exists (select from subscription s where s.bug_id = bug.id and s.person_id = ${id})
      or exists (select from message m where m.bug_id = bug.id and m.index > 0 and m.owner_id = ${id}))`);
  }
  if (search.omitDuplicates ?? true) all.push(sql`bug.duplicate_of is null`);
  if (search.omitTargeted) all.push(sql`t.series_id is null`);
  if (search.hasPatch !== undefined)
    all.push(
      search.hasPatch
        ? sql`exists (select from attachment a where a.bug_id = bug.id and a.is_patch)`
        : sql`not exists (select from attachment a where a.bug_id = bug.id and a.is_patch)`,
    );
  if (search.hasCve) all.push(sql`exists (select from cve c where c.bug_id = bug.id)`);
  if (search.hasNoPackage) all.push(sql`t.package is null`);
  if (search.createdSince) all.push(sql`t.date_created >= ${search.createdSince}`);
  if (search.createdBefore) all.push(sql`t.date_created < ${search.createdBefore}`);
  if (search.modifiedSince) all.push(sql`bug.date_last_updated >= ${search.modifiedSince}`);
  return all;
}

/** Words, "phrases", -without and or; a lone number is a bug's number. */
function matchText(text: string): RawBuilder<SqlBool> {
  const query = sql`websearch_to_tsquery('english', ${text.slice(0, 1000)})`;
  const number = /^#?(\d{1,9})$/.exec(text.trim());
  return number ? sql`(bug.words @@ ${query} or bug.id = ${Number(number[1])})` : sql`bug.words @@ ${query}`;
}

/** "-tag" excludes, "*" is any tag. */
function matchTags(tags: readonly string[], combinator: string): RawBuilder<SqlBool> {
  oneOf("tags_combinator", combinator, ["Any", "All"]);
  const parts = tags.map((tag): RawBuilder<SqlBool> => {
    if (tag === "*") return sql`bug.tags <> '{}'`;
    if (tag === "-*") return sql`bug.tags = '{}'`;
    if (tag.startsWith("-")) return sql`not bug.tags @> array[${tag.slice(1)}]::text[]`;
    return sql`bug.tags @> array[${tag}]::text[]`;
  });
  return sql`(${sql.join(parts, combinator === "All" ? sql` and ` : sql` or `)})`;
}

function order(search: Search): RawBuilder<unknown> {
  const wanted = search.orderBy ?? (search.text?.trim() ? ["-relevance"] : ["-importance", "-id"]);
  const parts = wanted.flatMap((each) => {
    const descending = each.startsWith("-");
    const name = descending ? each.slice(1) : each;
    const column = Object.hasOwn(ORDERS, name) ? ORDERS[name] : undefined;
    if (column === undefined) throw new InvalidError("order_by", `Unrecognized sort key: ${name.slice(0, 40)}`);
    if (column !== "rank") return [sql`${sql.raw(column)} ${sql.raw(descending ? "desc nulls last" : "asc")}`];
    if (!search.text?.trim()) return [];
    return [sql`ts_rank(bug.words, websearch_to_tsquery('english', ${search.text.slice(0, 1000)})) desc`];
  });
  return sql.join([...parts, sql`t.id desc`]);
}

/** Counting stops here: a reader learns "over 10,000", and the machine is not kept busy by one word. */
export const MOST_COUNTED = 10_000;

/** @throws InvalidError for words that are none of their field's */
export async function searchTasks(
  db: Db,
  actor: Actor | undefined,
  search: Search,
  page: { start: number; size: number },
): Promise<BugTask[]> {
  const { rows } = await sql<BugTask>`select t.* from bug_task t join bug on bug.id = t.bug_id
    where ${where(actor, search)} order by ${order(search)} limit ${page.size} offset ${page.start}`.execute(db);
  return rows;
}

export async function countTasks(
  db: Db,
  actor: Actor | undefined,
  search: Search,
  most = MOST_COUNTED,
): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::integer as count from (select 1 from bug_task t
    join bug on bug.id = t.bug_id where ${where(actor, search)} limit ${most}) found`.execute(db);
  return rows[0]!.count;
}

function where(actor: Actor | undefined, search: Search) {
  return sql.join([...conditions(search), seenBy(actor)], sql` and `);
}
