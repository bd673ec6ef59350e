// Launchpad's +text form of a bug: a block of "key: value" lines for the bug, one for each task, then the messages as
// MIME. Written here and read here, and Launchpad's own is read.

import type { Actor } from "../model/people.ts";
import { targetName } from "../model/targets.ts";
import { importanceTitle, isPrivate, isSecurity, statusTitle } from "../model/words.ts";
import type { Store } from "../store/open.ts";
import { type BugData, readBugData } from "../web/bug-data.ts";

/** "Wed, 31 Aug 2011 12:37:31 -0000" */
export function mailDate(date: Date): string {
  return date.toUTCString().replace("GMT", "-0000");
}

/** @throws MissingRecordError */
export async function bugText(store: Store, actor: Actor | undefined, id: number): Promise<string> {
  return textOf(await readBugData(store, actor, id));
}

function textOf({ bug, tasks, messages, people, attachments, subscribers, duplicates }: BugData): string {
  const who = (person: number | null): string => {
    const found = person === null ? undefined : people.get(person);
    return found === undefined ? "" : `${found.display_name} (${found.name})`;
  };
  const head = [
    `bug: ${bug.id}`,
    `title: ${bug.title}`,
    `date-reported: ${mailDate(bug.date_created)}`,
    `date-updated: ${mailDate(bug.date_last_updated)}`,
    `reporter: ${who(bug.owner_id)}`,
    `duplicate-of: ${bug.duplicate_of ?? ""}`,
    `duplicates: ${duplicates.map((each) => each.id).join(" ")}`,
    ...(isPrivate(bug.information_type) ? ["private: yes"] : []),
    ...(isSecurity(bug.information_type) ? ["security: yes"] : []),
    `attachments: ${attachments.length === 0 ? "" : `\n${attachments.map((each) => ` /bugs/${bug.id}/+attachment/${each.id} ${each.content_type}; name="${each.title}"`).join("\n")}`}`,
    `tags: ${bug.tags.join(" ")}`,
    `subscribers: ${subscribers.length === 0 ? "" : `\n${subscribers.map((each) => ` ${who(each)}`).join("\n")}`}`,
  ];
  const blocks = tasks.map(({ task, target, milestone }) =>
    [
      `task: ${targetName(target)}`,
      `status: ${statusTitle(task.status)}`,
      `date-created: ${mailDate(task.date_created)}`,
      `reporter: ${who(task.owner_id)}`,
      `importance: ${importanceTitle(task.importance)}`,
      `assignee: ${who(task.assignee_id)}`,
      `milestone: ${milestone ?? ""}`,
    ].join("\n"),
  );
  return `${[head.join("\n"), ...blocks].join("\n\n")}\n\n${mimeOf(messages, who)}`;
}

function mimeOf(messages: BugData["messages"], who: (id: number) => string): string {
  // A boundary that no line of the messages starts with.
  let boundary = "===============palimpsest==";
  while (messages.some((each) => each.content.includes(boundary))) boundary = `${boundary}=`;
  const parts = messages.map((each) => {
    const text = each.date_deleted === null ? each.content : "";
    return [
      `--${boundary}`,
      `Content-Type: text/plain; charset="utf-8"`,
      "MIME-Version: 1.0",
      "Content-Transfer-Encoding: 8bit",
      `Author: ${who(each.owner_id)}`,
      `Date: ${mailDate(each.date_created)}`,
      `Message-Id: <bug-${each.bug_id}-comment-${each.index}@palimpsest.invalid>`,
      `Subject: ${each.subject.replace(/\s+/g, " ")}`,
      "",
      text,
      "",
    ].join("\n");
  });
  return `Content-Type: multipart/mixed; boundary="${boundary}"\nMIME-Version: 1.0\n\n${parts.join("")}--${boundary}--\n`;
}
