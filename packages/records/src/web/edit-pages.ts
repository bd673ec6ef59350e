// The forms of a record's page: what a signed-in person does without a script.
import type { FastifyInstance, FastifyRequest } from "fastify";
import { InvalidError } from "../errors.ts";
import { markAffected } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { addAttachment, addMessage } from "../model/messages.ts";
import { findPerson } from "../model/people.ts";
import { type Target, targetName, targetPath } from "../model/targets.ts";
import { editTask } from "../model/tasks.ts";
import { IMPORTANCE_NAMES, importanceTitle, STATUS_NAMES, statusTitle } from "../model/words.ts";
import type { BugTask } from "../store/schema.ts";
import type { PageOptions } from "./account-pages.ts";
import { formOf } from "./forms.ts";
import { page } from "./layout.ts";
import { markup as html, type Part } from "./markup.ts";
import { checkForm, type Visit, visitOf } from "./sessions.ts";

export function bugNumber(request: FastifyRequest): number {
  const { id } = request.params as { id?: string };
  return /^\d{1,9}$/.test(id ?? "") ? Number(id) : Number.NaN;
}

export function registerEditPages(app: FastifyInstance, { store, siteOf }: PageOptions): void {
  app.post("/bugs/:id/+addcomment", async (request, reply) => {
    const visit = await visitOf(store, request);
    const form = await formOf(request);
    checkForm(request, visit, siteOf(request), form.text("form_token"));
    const id = bugNumber(request);
    const file = form.file("file");
    const comment = form.text("comment");
    if (file !== undefined) {
      const isPatch = form.text("patch") === "yes";
      const fileName = file.fileName ?? "attachment";
      await addAttachment(store, visit.actor, id, {
        bytes: file.bytes,
        fileName,
        contentType: file.contentType,
        isPatch,
        comment,
      });
    } else {
      if (comment.trim() === "") throw new InvalidError("comment", "Write something, or choose a file.");
      await changeBug(store, visit.actor, id, (change) => addMessage(change, { content: comment }));
    }
    return reply.redirect(`/bugs/${id}`, 303);
  });

  app.post("/bugs/:id/+affectsmetoo", async (request, reply) => {
    const visit = await visitOf(store, request);
    const form = await formOf(request);
    checkForm(request, visit, siteOf(request), form.text("form_token"));
    const id = bugNumber(request);
    await markAffected(store, visit.actor, id, form.text("affected") === "yes");
    return reply.redirect(`/bugs/${id}`, 303);
  });
}

/** The form for one task: status, importance and assignee. */
export function taskForm(visit: Visit, task: BugTask, target: Target, assignee: string, complaint = ""): string {
  const options = (all: readonly string[], now: string): Part =>
    all.map((each) => html`<option${each === now && html` selected`}>${each}</option>`);
  return page(
    { title: `Bug #${task.bug_id}: edit ${targetName(target)}`, visit, path: `/bugs/${task.bug_id}` },
    html`<h1>Edit the status of ${targetName(target)}</h1>
${complaint !== "" && html`<p class="notice" role="alert">${complaint}</p>`}
<form method="post" action="/${targetPath(target)}/+bug/${task.bug_id}/+editstatus"><input type="hidden" name="form_token" value="${visit.formToken}">
<label for="status">Status</label><select id="status" name="status">${options(STATUS_NAMES, statusTitle(task.status))}</select>
<label for="importance">Importance</label><select id="importance" name="importance">${options(IMPORTANCE_NAMES, importanceTitle(task.importance))}</select>
<label for="assignee">Assigned to (a person's name, or empty)</label><input id="assignee" name="assignee" value="${assignee}">
<label for="comment">Comment</label><textarea id="comment" name="comment" rows="4"></textarea>
<p><button>Save changes</button></p></form>`,
  );
}

export async function saveTask({ store, siteOf }: PageOptions, request: FastifyRequest, task: BugTask): Promise<void> {
  const visit = await visitOf(store, request);
  const form = await formOf(request);
  checkForm(request, visit, siteOf(request), form.text("form_token"));
  const name = form.text("assignee").trim();
  const assignee = name === "" ? null : await findPerson(store.db, name);
  if (assignee === undefined) throw new InvalidError("assignee", `There is no ~${name}.`);
  await changeBug(store, visit.actor, task.bug_id, async (change) => {
    await editTask(change, task.id, { status: form.text("status"), importance: form.text("importance"), assignee });
    if (form.text("comment").trim() !== "") await addMessage(change, { content: form.text("comment") });
  });
}
