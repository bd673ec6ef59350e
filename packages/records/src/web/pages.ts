// The pages: what a person reads of the records.
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Context } from "../api/context.ts";
import { resourceAt } from "../api/resources.ts";
import { STATUS_OF, sendFile } from "../api/routes.ts";
import { MissingRecordError, RecordsError } from "../errors.ts";
import { bugText } from "../exchange/text.ts";
import { readBug } from "../model/access.ts";
import { personById, personNamed } from "../model/people.ts";
import { targetName } from "../model/targets.ts";
import { type PageOptions, registerAccountPages } from "./account-pages.ts";
import { attachmentPage } from "./attachment-page.ts";
import { readBugData } from "./bug-data.ts";
import { allComments, bugPage, comment } from "./bug-page.ts";
import { bugNumber, registerEditPages, saveTask, taskForm } from "./edit-pages.ts";
import { feed } from "./feed.ts";
import { page, prose, STYLE, time } from "./layout.ts";
import { markup as html } from "./markup.ts";
import { searchOf, searchPage } from "./search-page.ts";
import { visitOf } from "./sessions.ts";

const HTML = "text/html;charset=utf-8";

export function registerPages(app: FastifyInstance, options: PageOptions): void {
  app.register(async (pages) => {
    pages.setErrorHandler((error: Error, request, reply) => errorPage(options, error, request, reply));
    pages.addHook("onRequest", async (_request, reply) => {
      reply.header("vary", "Cookie").header("cache-control", "private, no-cache");
    });
    registerAccountPages(pages, options);
    registerEditPages(pages, options);
    registerReading(pages, options);
    pages.setNotFoundHandler(async (request, reply) =>
      errorPage(options, new MissingRecordError("this page"), request, reply),
    );
  });
}

async function errorPage(
  { store }: PageOptions,
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const own = (error as Error & { statusCode?: number }).statusCode;
  const isOwn = error instanceof RecordsError;
  const known = isOwn ? STATUS_OF[error.kind] : own !== undefined && own >= 400 && own < 500 ? own : 500;
  const status = known === 401 ? 403 : known;
  if (status >= 500) request.log.error({ error: error.message, stack: error.stack }, "request failed");
  const visit = await visitOf(store, request).catch(() => ({ actor: undefined, formToken: "" }));
  const message = status >= 500 && !isOwn ? "The server could not do this." : error.message;
  return reply
    .code(status)
    .type(HTML)
    .send(page({ title: "Sorry", visit, path: "/bugs" }, html`<h1>Sorry</h1><p role="alert">${message}</p>`));
}

function registerReading(app: FastifyInstance, options: PageOptions): void {
  const { store, siteOf } = options;
  const urlOf = (request: FastifyRequest) => new URL(request.url, siteOf(request));

  app.get("/style.css", async (_request, reply) =>
    reply.header("cache-control", "max-age=3600").type("text/css").send(STYLE),
  );
  app.get("/robots.txt", async (_request, reply) => reply.type("text/plain").send("User-agent: *\nAllow: /\n"));
  app.get("/", async (_request, reply) => reply.redirect("/bugs", 302));
  app.get("/bugs.atom", async (request, reply) =>
    reply.type("application/atom+xml;charset=utf-8").send(await feed(store, siteOf(request))),
  );

  app.get("/bugs", async (request, reply) => {
    const params = urlOf(request).searchParams;
    const visit = await visitOf(store, request);
    const text = await searchPage(store, visit, {
      title: "Search bug reports",
      path: "/bugs",
      search: searchOf(params),
      params,
    });
    return reply.type(HTML).send(text);
  });

  app.get("/bugs/:id", async (request, reply) => {
    const visit = await visitOf(store, request);
    const data = await readBugData(store, visit.actor, bugNumber(request));
    if (urlOf(request).searchParams.get("comments") === "all") {
      const title = `Bug #${data.bug.id}: all comments`;
      const main = html`<h1>${data.bug.title}</h1>${prose(data.bug.description)}${allComments(data)}`;
      return reply.type(HTML).send(page({ title, visit, path: `/bugs/${data.bug.id}` }, main));
    }
    return reply.type(HTML).send(bugPage(data, visit));
  });

  app.get("/bugs/:id/+text", async (request, reply) => {
    const visit = await visitOf(store, request);
    return reply.type("text/plain;charset=utf-8").send(await bugText(store, visit.actor, bugNumber(request)));
  });

  app.get("/bugs/:id/+activity", async (request, reply) => {
    const visit = await visitOf(store, request);
    const { bug, activity, people } = await readBugData(store, visit.actor, bugNumber(request));
    const rows = activity.map((entry) => {
      const person = people.get(entry.person_id)!;
      return html`<tr><td>${time(entry.date)}</td><td>${person.display_name}</td><td>${entry.what}</td><td>${entry.old_value ?? ""}</td><td>${entry.new_value ?? ""}</td><td>${entry.message ?? ""}</td></tr>
`;
    });
    const main = html`<h1>Activity log for <a href="/bugs/${bug.id}">bug #${bug.id}</a></h1><table><thead><tr><th scope="col">Date</th><th scope="col">Who</th><th scope="col">What changed</th><th scope="col">Old value</th><th scope="col">New value</th><th scope="col">Message</th></tr></thead><tbody>${rows}</tbody></table>`;
    return reply
      .type(HTML)
      .send(page({ title: `Activity of bug #${bug.id}`, visit, path: `/bugs/${bug.id}/+activity` }, main));
  });

  app.get("/bugs/:id/comments/:index", async (request, reply) =>
    reply.type(HTML).send((await oneComment(request)).text),
  );
  app.get("/bugs/:id/comments/:index/+download", async (request, reply) =>
    reply
      .type("text/plain;charset=utf-8")
      .header("content-disposition", "inline")
      .send((await oneComment(request)).content),
  );
  app.get("/bugs/:id/comments/:index/+history", async (request, reply) =>
    reply.type(HTML).send((await oneComment(request, true)).text),
  );

  async function oneComment(request: FastifyRequest, history = false): Promise<{ text: string; content: string }> {
    const visit = await visitOf(store, request);
    const data = await readBugData(store, visit.actor, bugNumber(request));
    const { index } = request.params as { index: string };
    const message = data.messages.find((each) => String(each.index) === index);
    if (message === undefined) throw new MissingRecordError(`comment ${index} of bug ${data.bug.id}`);
    const old = history
      ? await store.db
          .selectFrom("message_revision")
          .selectAll()
          .where("message_id", "=", message.id)
          .orderBy("revision")
          .execute()
      : [];
    const main = html`<h1>Comment ${index} for <a href="/bugs/${data.bug.id}">bug #${data.bug.id}</a></h1>${comment(message, data, true)}
${old.map((each) => html`<section><h2>Revision ${each.revision}, ${time(each.date_created)}</h2>${prose(each.content)}</section>`)}`;
    const path = `/bugs/${data.bug.id}/comments/${index}`;
    return {
      text: page({ title: `Comment ${index} : bug #${data.bug.id}`, visit, path }, main),
      content: message.content,
    };
  }

  app.get("/bugs/:id/+attachment/:file", async (request, reply) => {
    const visit = await visitOf(store, request);
    return reply.type(HTML).send(await attachmentPage(store, visit, await attachmentOf(request)));
  });
  app.get("/bugs/:id/+attachment/:file/+files/:name", async (request, reply) =>
    sendFile(store, reply, await attachmentOf(request)),
  );

  async function attachmentOf(request: FastifyRequest) {
    const visit = await visitOf(store, request);
    const bug = await readBug(store.db, visit.actor, bugNumber(request));
    const { file } = request.params as { file: string };
    const id = /^\d{1,9}$/.test(file) ? Number(file) : -1;
    const row = await store.db
      .selectFrom("attachment")
      .selectAll()
      .where("bug_id", "=", bug.id)
      .where("id", "=", id)
      .executeTakeFirst();
    if (row === undefined) throw new MissingRecordError(`attachment ${file} of bug ${bug.id}`);
    return row;
  }

  /** ~people, targets and tasks have paths of any length. */
  app.get("/*", async (request, reply) => {
    const visit = await visitOf(store, request);
    const url = urlOf(request);
    const path = url.pathname.split("/").map(decode).join("/").slice(1);
    if (path.startsWith("~")) return reply.type(HTML).send(await personPage(path.slice(1), request));
    const isEdit = path.endsWith("/+editstatus");
    const ctx = new Context(store, visit.actor, siteOf(request), siteOf(request), "devel");
    const resource = await resourceAt(ctx, isEdit ? path.slice(0, -"/+editstatus".length) : path);
    if (resource.kind === "task") {
      if (!isEdit) return reply.type(HTML).send(bugPage(await readBugData(store, visit.actor, resource.bug.id), visit));
      const { task, target } = resource;
      const assignee = task.assignee_id === null ? "" : (await personById(store.db, task.assignee_id)).name;
      return reply.type(HTML).send(taskForm(visit, task, target, assignee));
    }
    if (resource.kind !== "target") throw new MissingRecordError(path);
    const params = url.searchParams;
    const title = `Bugs in ${targetName(resource.target)}`;
    const search = { ...searchOf(params), target: resource.target };
    return reply.type(HTML).send(await searchPage(store, visit, { title, path: url.pathname, search, params }));
  });

  async function personPage(name: string, request: FastifyRequest): Promise<string> {
    const visit = await visitOf(store, request);
    const person = await personNamed(store.db, name);
    const params = urlOf(request).searchParams;
    const search = { ...searchOf(params), person: person.id };
    return searchPage(store, visit, {
      title: `Bugs related to ${person.display_name} (${person.name})`,
      path: `/~${name}`,
      search,
      params,
    });
  }

  app.post("/*", async (request, reply) => {
    const visit = await visitOf(store, request);
    const path = urlOf(request).pathname.split("/").map(decode).join("/").slice(1);
    if (!path.endsWith("/+editstatus")) throw new MissingRecordError(path);
    const ctx = new Context(store, visit.actor, siteOf(request), siteOf(request), "devel");
    const resource = await resourceAt(ctx, path.slice(0, -"/+editstatus".length));
    if (resource.kind !== "task") throw new MissingRecordError(path);
    await saveTask(options, request, resource.task);
    return reply.redirect(`/bugs/${resource.bug.id}`, 303);
  });
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
