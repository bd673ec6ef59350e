// Search, and the records of a target or a person: one table for all.
import { countTasks, MOST_COUNTED, type Search, searchTasks } from "../model/search.ts";
import { targetName, targetsOf } from "../model/targets.ts";
import { IMPORTANCE_NAMES, importanceTitle, STATUS_NAMES, statusTitle } from "../model/words.ts";
import type { Store } from "../store/open.ts";
import { page, time } from "./layout.ts";
import { markup as html, type Part } from "./markup.ts";
import type { Visit } from "./sessions.ts";

export const PAGE_SIZE = 50;

export interface SearchPage {
  readonly title: string;
  readonly path: string;
  readonly search: Search;
  readonly params: URLSearchParams;
}

/** The query of the search form. */
export function searchOf(params: URLSearchParams): Search {
  const list = (name: string): readonly string[] | undefined => {
    const values = params.getAll(name).filter((each) => each !== "");
    return values.length > 0 ? values : undefined;
  };
  return {
    text: params.get("q") ?? undefined,
    statuses: list("status"),
    importances: list("importance"),
    tags: params.get("tags")?.split(/\s+/).filter(Boolean),
    orderBy: list("order_by"),
  };
}

export async function searchPage(
  store: Store,
  visit: Visit,
  { title, path, search, params }: SearchPage,
): Promise<string> {
  const start = Math.min(Math.max(0, Number.parseInt(params.get("start") ?? "0", 10) || 0), 1_000_000);
  const [tasks, count] = await Promise.all([
    searchTasks(store.db, visit.actor, search, { start, size: PAGE_SIZE }),
    countTasks(store.db, visit.actor, search),
  ]);
  const ids = [...new Set(tasks.map((task) => task.bug_id))];
  const [targets, bugs] = await Promise.all([
    targetsOf(store.db, tasks),
    ids.length === 0
      ? []
      : store.db
          .selectFrom("bug")
          .select(["id", "title", "heat", "date_last_updated"])
          .where("id", "in", ids)
          .execute(),
  ]);
  const titles = new Map(bugs.map((bug) => [bug.id, bug]));
  const rows = tasks.map((task) => {
    const bug = titles.get(task.bug_id)!;
    return html`<tr><td><a href="/bugs/${bug.id}">#${bug.id}</a></td><td><a href="/bugs/${bug.id}">${bug.title}</a></td><td>${targetName(targets.get(task.id)!)}</td>
<td>${statusTitle(task.status)}</td><td>${importanceTitle(task.importance)}</td><td>${bug.heat}</td><td>${time(bug.date_last_updated)}</td></tr>
`;
  });
  const total = count >= MOST_COUNTED ? `over ${MOST_COUNTED.toLocaleString("en")}` : String(count);
  const link = (at: number, label: string): Part => {
    const next = new URLSearchParams(params);
    next.set("start", String(at));
    return html`<a href="${path}?${next.toString()}">${label}</a> `;
  };
  const select = (
    name: string,
    label: string,
    options: readonly string[],
  ): Part => html`<label for="${name}">${label}</label>
<select id="${name}" name="${name}"><option value="">any that is open</option>${options.map((each) => html`<option${params.get(name) === each && html` selected`}>${each}</option>`)}</select>`;
  const main = html`<h1>${title}</h1>
<form action="${path}" method="get"><label for="q">Words</label><input id="q" name="q" value="${params.get("q") ?? ""}">
${select("status", "Status", STATUS_NAMES)} ${select("importance", "Importance", IMPORTANCE_NAMES)}
<label for="tags">Tags</label><input id="tags" name="tags" value="${params.get("tags") ?? ""}"> <button>Search</button></form>
<p>${count === 0 ? "No results." : `${start + 1} → ${start + tasks.length} of ${total} results`}</p>
${
  rows.length > 0 &&
  html`<table><thead><tr><th scope="col">Number</th><th scope="col">Title</th><th scope="col">In</th><th scope="col">Status</th><th scope="col">Importance</th><th scope="col">Heat</th><th scope="col">Changed</th></tr></thead>
<tbody>${rows}</tbody></table>`
}
<p>${start > 0 && link(Math.max(0, start - PAGE_SIZE), "Previous")}${start + tasks.length < count && link(start + PAGE_SIZE, "Next")}</p>`;
  return page({ title, visit, path, query: params.get("q") ?? "" }, main);
}
