// A record as Launchpad's page shows it, fact after fact in its order.
import { targetName, targetPath } from "../model/targets.ts";
import { importanceTitle, isPrivate, statusTitle } from "../model/words.ts";
import type { Attachment, Message } from "../store/schema.ts";
import type { BugData, TaskRow } from "./bug-data.ts";
import { page, prose, sizeText, time } from "./layout.ts";
import { markup as html, type Markup, type Part } from "./markup.ts";
import type { Visit } from "./sessions.ts";
import { type ActivityBox, timeline } from "./timeline.ts";

/** Longer comments are cut here and linked to. */
const SHOWN = 3200;
/** Of more than 100 comments the first and last 40 are shown. */
const MOST_COMMENTS = 100;
const SHOWN_COMMENTS = 40;

export function bugPage(data: BugData, visit: Visit): string {
  const { bug, people } = data;
  const reporter = people.get(bug.owner_id)!;
  const affected = bug.users_affected_count;
  const main: Part = html`
${isPrivate(bug.information_type) && html`<p class="private">This record is private</p>`}
${data.master && html`<p class="notice">This bug report is a duplicate of: <a href="/bugs/${data.master.id}">Bug #${data.master.id}: ${data.master.title}</a>.</p>`}
${bug.duplicate_of !== null && data.master === undefined && html`<p class="notice">This bug report is a duplicate of a private bug.</p>`}
<h1>${bug.title}</h1>
<p>Bug #${bug.id} reported by <a href="/~${reporter.name}">${reporter.display_name}</a> on ${time(bug.date_created)}</p>
<p><span title="heat">${bug.heat}</span></p>
<p>This bug affects ${affected} ${affected === 1 ? "person" : "people"}</p>
${affectsForm(data, visit)}
<table>
<thead><tr><th scope="col">Affects</th><th scope="col">Status</th><th scope="col">Importance</th><th scope="col">Assigned to</th><th scope="col">Milestone</th></tr></thead>
<tbody>${data.tasks.map((row) => taskRow(row, data, visit))}</tbody>
</table>
<section aria-labelledby="description"><h2 id="description">Bug Description</h2>
${prose(bug.description)}
${bug.description !== bug.original_description && html`<p><a href="/bugs/${bug.id}/comments/0">See original description</a></p>`}
${bug.tags.length > 0 && html`<p>Tags: ${bug.tags.map((tag) => html`<a class="tag" href="/bugs?tags=${encodeURIComponent(tag)}">${tag}</a>`)}</p>`}
</section>
<section aria-label="Comments and changes">${comments(data)}</section>
${commentForm(data, visit)}
<p>This report contains ${html`<strong>${bug.information_type}</strong>`} information</p>
<p>${isPrivate(bug.information_type) ? "Only those it is shared with can see this information." : "Everyone can see this information."}</p>
${portlets(data)}
<p><a href="/bugs/${bug.id}/+activity">See full activity log</a> · <a href="/bugs/${bug.id}/+text">Plain text</a></p>`;
  return page({ title: `Bug #${bug.id}: ${bug.title}`, visit, path: `/bugs/${bug.id}` }, main);
}

function taskRow({ task, target, milestone, trackedIn }: TaskRow, data: BugData, visit: Visit): Markup {
  const assignee = task.assignee_id === null ? undefined : data.people.get(task.assignee_id);
  const isSeries = target.series !== undefined;
  const name = isSeries ? target.series!.display_name : targetName(target);
  const label = isSeries ? targetName(target) : "";
  const edit =
    visit.actor !== undefined &&
    html` <a href="/${targetPath(target)}/+bug/${task.bug_id}/+editstatus" aria-label="Edit the task of ${targetName(target)}">Edit</a>`;
  return html`<tr class="${isSeries ? "series" : ""}"><td><a href="/${targetPath(target)}"${label && html` title="${label}"`}>${name}</a></td>
<td>${trackedIn === undefined ? statusTitle(task.status) : html`${statusTitle(task.status)} <small>(Status tracked in ${trackedIn})</small>`}${edit}</td><td>${importanceTitle(task.importance)}</td>
<td>${assignee ? html`<a href="/~${assignee.name}">${assignee.display_name}</a>` : "Unassigned"}</td><td>${milestone ?? ""}</td></tr>
`;
}

function affectsForm({ bug, isAffected }: BugData, visit: Visit): Part {
  if (visit.actor === undefined) return "";
  return html`<form method="post" action="/bugs/${bug.id}/+affectsmetoo"><input type="hidden" name="form_token" value="${visit.formToken}">
<button name="affected" value="${isAffected ? "no" : "yes"}">${isAffected ? "This bug affects you. It does not any more?" : "Does this bug affect you?"}</button></form>`;
}

function comments(data: BugData): Part {
  const parts = timeline(data.messages, data.activity);
  const total = data.messages.length - 1;
  if (total <= MOST_COMMENTS) return parts.map((part) => shown(part, data));
  const last = data.messages.at(-1)!.index;
  const isLeftOut = (index: number) => index > SHOWN_COMMENTS && index <= last - SHOWN_COMMENTS;
  let told = false;
  return parts.map((part) => {
    if (part.kind !== "comment" || !isLeftOut(part.message.index)) return shown(part, data);
    if (told) return "";
    told = true;
    return html`<p class="notice">Displaying first ${SHOWN_COMMENTS} and last ${SHOWN_COMMENTS} comments.
<a href="/bugs/${data.bug.id}?comments=all">View all ${total} comments</a>.</p>`;
  });
}

function shown(part: ReturnType<typeof timeline>[number], data: BugData): Markup {
  return part.kind === "activity" ? activityBox(part, data) : comment(part.message, data);
}

/** All of them, for those who ask. */
export function allComments(data: BugData): Part {
  return timeline(data.messages, data.activity).map((part) => shown(part, data));
}

function activityBox({ personId, target, lines, date }: ActivityBox, { people }: BugData): Markup {
  const person = people.get(personId)!;
  return html`<div class="activity"><p><a href="/~${person.name}">${person.display_name} (${person.name})</a> ${time(date)}</p>
${target !== "" && html`<p>Changed in ${target}:</p>`}
${lines.map((line) => html`<p>${line}</p>`)}</div>
`;
}

export function comment(message: Message, data: BugData, whole = false): Markup {
  const { bug, people, attachments } = data;
  const person = people.get(message.owner_id)!;
  const url = `/bugs/${bug.id}/comments/${message.index}`;
  const isCut = !whole && message.content.length > SHOWN;
  const text = message.date_deleted === null ? message.content : "";
  const files = attachments.filter((each) => each.message_id === message.id);
  return html`<article id="comment-${message.index}" aria-labelledby="by-${message.index}"><header id="by-${message.index}">
${message.date_last_edited !== null && html`<small>Edited ${time(message.date_last_edited)}</small> `}<a href="${url}/+history">Revision history for this message</a>
<p>${!message.visible && html`<em>Hidden: </em>`}<a href="/~${person.name}">${person.display_name} (${person.name})</a> wrote on ${time(message.date_created)}: <a class="number" href="${url}">#${message.index}</a></p></header>
${isCut && html`<p><a href="${url}/+download">Download full text</a> (${sizeText(Buffer.byteLength(text))})</p>`}
${prose(isCut ? `${cut(text)}...` : text)}
${isCut && html`<p><a href="${url}">Read more...</a></p>`}
${files.length > 0 && html`<ul>${files.map((each) => html`<li>${fileLink(each)}</li>`)}</ul>`}</article>
`;
}

/** At the last word that fits. */
function cut(text: string): string {
  const part = text.slice(0, SHOWN - 3);
  const at = part.search(/\S*$/);
  return at > SHOWN / 2 ? part.slice(0, at).trimEnd() : part;
}

function fileLink({ bug_id, id, title, size, is_patch }: Attachment): Markup {
  return html`<a href="/bugs/${bug_id}/+attachment/${id}">${title}</a> (${sizeText(size)}${is_patch && ", patch"})`;
}

function commentForm({ bug }: BugData, visit: Visit): Part {
  if (visit.actor === undefined) {
    return html`<p>To post a comment you must <a href="/+login?to=${encodeURIComponent(`/bugs/${bug.id}`)}">log in</a>.</p>`;
  }
  if (bug.lock_status !== "Unlocked") return html`<p>This bug is locked: ${bug.lock_reason ?? ""}</p>`;
  return html`<section aria-labelledby="add"><h2 id="add">Add comment</h2>
<form method="post" action="/bugs/${bug.id}/+addcomment" enctype="multipart/form-data"><input type="hidden" name="form_token" value="${visit.formToken}">
<label for="comment">Comment</label><textarea id="comment" name="comment" rows="8"></textarea>
<label for="file">Attachment</label><input id="file" type="file" name="file">
<label><input type="checkbox" name="patch" value="yes"> This attachment contains a solution (patch) for this bug</label>
<p><button>Post comment</button></p></form></section>`;
}

function portlets(data: BugData): Part {
  const { bug, attachments, duplicates, subscribers, people, cves, watches } = data;
  const list = (title: string, items: readonly Markup[]): Part =>
    items.length > 0 &&
    html`<section><h2>${title}</h2><ul>${items.map((each) => html`<li>${each}</li>`)}</ul></section>`;
  return [
    list(
      "Duplicates of this bug",
      duplicates.map((each) => html`<a href="/bugs/${each.id}">Bug #${each.id}: ${each.title}</a>`),
    ),
    list("Patches", attachments.filter((each) => each.is_patch).map(fileLink)),
    list("Bug attachments", attachments.filter((each) => !each.is_patch).map(fileLink)),
    list(
      "CVE References",
      cves.map((each) => html`<a rel="nofollow" href="https://www.cve.org/CVERecord?id=CVE-${each}">CVE-${each}</a>`),
    ),
    list(
      "Remote bug watches",
      watches.map((each) => html`${each.title} #${each.remote_bug} ${each.remote_status ?? ""}`),
    ),
    html`<section><h2>Other bug subscribers</h2><ul>${subscribers.map((id) => {
      const person = people.get(id)!;
      return html`<li><a href="/~${person.name}">${person.display_name}</a></li>`;
    })}</ul></section>`,
    bug.signature !== null && html`<section><h2>Cause</h2><p>Signature: <code>${bug.signature}</code></p></section>`,
  ];
}
