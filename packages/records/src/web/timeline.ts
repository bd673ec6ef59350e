// Comments with what happened between them: changes by one person at one time are one box, as on Launchpad's page.
import type { Activity, Message } from "../store/schema.ts";

export interface ActivityBox {
  readonly kind: "activity";
  readonly personId: number;
  readonly date: Date;
  /** "linux (Ubuntu)", or "" for the record itself */
  readonly target: string;
  /** "status: New → In Progress" */
  readonly lines: readonly string[];
}

export type TimelinePart = ActivityBox | { readonly kind: "comment"; readonly message: Message };

/** Comments carry themselves; what only prepares a change is in the activity log alone, as on Launchpad's page. */
const UNTOLD = new Set([
  "comment",
  "comment edited",
  "bug",
  "bug task added",
  "nominated for series",
  "nomination",
  "affects me",
  "found in version",
]);
const TOGETHER_MS = 5 * 60 * 1000;

export function timeline(messages: readonly Message[], activity: readonly Activity[]): TimelinePart[] {
  const comments = messages.filter((message) => message.index > 0);
  const told = activity.filter((entry) => !UNTOLD.has(entry.what));
  const out: TimelinePart[] = [];
  let next = 0;
  for (const message of comments) {
    const upTo = told.findIndex((entry, at) => at >= next && entry.date > message.date_created);
    const end = upTo < 0 ? told.length : upTo;
    out.push(...boxes(told.slice(next, end)), { kind: "comment", message });
    next = end;
  }
  out.push(...boxes(told.slice(next)));
  return afterOwnComment(out);
}

/** What the Janitor did by a comment stands below it: "This bug was fixed…", then the change of status. */
function afterOwnComment(parts: readonly TimelinePart[]): TimelinePart[] {
  const out = [...parts];
  for (let i = 0; i + 1 < out.length; i++) {
    const [box, comment] = [out[i]!, out[i + 1]!];
    if (box.kind !== "activity" || comment.kind !== "comment") continue;
    const isOwn =
      box.personId === comment.message.owner_id && box.date.getTime() === comment.message.date_created.getTime();
    if (isOwn) [out[i], out[i + 1]] = [comment, box];
  }
  return out;
}

function boxes(entries: readonly Activity[]): ActivityBox[] {
  const out: { kind: "activity"; personId: number; date: Date; target: string; lines: string[] }[] = [];
  for (const entry of entries) {
    const { target, field } = split(entry.what);
    const last = out.at(-1);
    const line = lineOf(field, entry);
    const isSame =
      last !== undefined &&
      last.personId === entry.person_id &&
      last.target === target &&
      entry.date.getTime() - last.date.getTime() < TOGETHER_MS;
    if (isSame) last.lines.push(line);
    else out.push({ kind: "activity", personId: entry.person_id, date: entry.date, target, lines: [line] });
  }
  return out;
}

function split(what: string): { target: string; field: string } {
  const at = what.lastIndexOf(": ");
  return at < 0 ? { target: "", field: what } : { target: what.slice(0, at), field: what.slice(at + 2) };
}

function lineOf(field: string, { old_value, new_value, message }: Activity): string {
  if (field === "description") return "description: updated";
  const nothing = field === "assignee" ? "nobody" : field === "milestone" ? "none" : "";
  if (old_value === null && new_value === null) return message ?? field;
  if (field === "tags") return tagLine(old_value ?? "", new_value ?? "");
  if ((old_value ?? nothing) === "") return `${field}: ${new_value}`;
  return `${field}: ${old_value ?? nothing} → ${new_value ?? (nothing || "removed")}`;
}

function tagLine(before: string, after: string): string {
  const [old, now] = [before.split(" ").filter(Boolean), after.split(" ").filter(Boolean)];
  const added = now.filter((tag) => !old.includes(tag));
  const removed = old.filter((tag) => !now.includes(tag));
  return [
    added.length > 0 && `tags: added: ${added.join(" ")}`,
    removed.length > 0 && `tags: removed: ${removed.join(" ")}`,
  ]
    .filter(Boolean)
    .join(" ");
}
