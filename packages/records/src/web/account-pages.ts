// Signing in, and the page on which a person lets a program act for them: the browser's half of Launchpad's login flow.
import type { FastifyInstance, FastifyRequest } from "fastify";
import { accessToken, PERMISSIONS, requestToken, review, waitingRequest } from "../api/oauth.ts";
import { InvalidError } from "../errors.ts";
import { checkPassword } from "../model/people.ts";
import { oneOf } from "../model/words.ts";
import type { Store } from "../store/open.ts";
import { formOf } from "./forms.ts";
import { page } from "./layout.ts";
import { markup as html } from "./markup.ts";
import { checkForm, checkOrigin, endSession, startSession, type Visit, visitOf } from "./sessions.ts";

export interface PageOptions {
  readonly store: Store;
  readonly siteOf: (request: FastifyRequest) => string;
}

/** Only a path of this site: a sign-in page that leads elsewhere would be a trap. */
function localPath(text: string): string {
  return /^\/(?![/\\])[\x21-\x7e]*$/.test(text) ? text : "/bugs";
}

function loginPage(visit: Visit, to: string, complaint = ""): string {
  return page(
    { title: "Log in", visit, path: to },
    html`<h1>Log in</h1>
${complaint !== "" && html`<p class="notice" role="alert">${complaint}</p>`}
<form method="post" action="/+login"><input type="hidden" name="to" value="${to}">
<label for="name">Name</label><input id="name" name="name" autocomplete="username" required>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required>
<p><button>Log in</button></p></form>`,
  );
}

export function registerAccountPages(app: FastifyInstance, { store, siteOf }: PageOptions): void {
  const queryOf = (request: FastifyRequest) => new URL(request.url, siteOf(request)).searchParams;
  // Guessing passwords is slow: ten tries a minute and address.
  const slow = { config: { rateLimit: { max: 10, timeWindow: "1 minute" } } };

  app.get("/+login", async (request, reply) => {
    const visit = await visitOf(store, request);
    return reply.type("text/html;charset=utf-8").send(loginPage(visit, localPath(queryOf(request).get("to") ?? "")));
  });

  app.post("/+login", slow, async (request, reply) => {
    const site = siteOf(request);
    checkOrigin(request, site);
    const form = await formOf(request);
    const to = localPath(form.text("to"));
    const person = await checkPassword(store, form.text("name"), form.text("password"));
    if (person === undefined) {
      const visit = await visitOf(store, request);
      return reply
        .code(403)
        .type("text/html;charset=utf-8")
        .send(loginPage(visit, to, "Name and password do not fit."));
    }
    await startSession(store, person, reply, site.startsWith("https:"));
    return reply.redirect(to, 303);
  });

  app.post("/+logout", async (request, reply) => {
    const visit = await visitOf(store, request);
    checkForm(request, visit, siteOf(request), (await formOf(request)).text("form_token"));
    await endSession(store, request, reply);
    return reply.redirect("/bugs", 303);
  });

  app.post("/+request-token", slow, async (request, reply) => {
    const form = await formOf(request);
    if (form.text("oauth_signature_method") !== "PLAINTEXT" || form.text("oauth_signature") !== "&") {
      throw new InvalidError("oauth_signature", "Only PLAINTEXT signature method is supported.");
    }
    const made = await requestToken(store, form.text("oauth_consumer_key"));
    if ((request.headers.accept ?? "").includes("application/json")) {
      const body = {
        oauth_token: made.token,
        oauth_token_secret: made.secret,
        oauth_token_consumer: made.consumer,
        access_levels: [],
      };
      return reply.header("content-type", "application/json").serializer(String).send(JSON.stringify(body));
    }
    return reply
      .type("application/x-www-form-urlencoded")
      .send(`oauth_token=${made.token}&oauth_token_secret=${made.secret}`);
  });

  app.get("/+authorize-token", async (request, reply) => {
    const visit = await visitOf(store, request);
    const query = queryOf(request);
    const token = query.get("oauth_token") ?? "";
    if (visit.actor === undefined) {
      return reply.redirect(`/+login?to=${encodeURIComponent(`/+authorize-token?${query.toString()}`)}`, 303);
    }
    const asked = query.getAll("allow_permission").filter((each) => (PERMISSIONS as readonly string[]).includes(each));
    const allowed = asked.length > 0 ? asked : ["READ_PUBLIC", "WRITE_PRIVATE"];
    const waiting = await waitingRequest(store, token);
    const text = page(
      { title: "Authorize a program", visit, path: "/bugs" },
      html`<h1>Let a program act for you?</h1>
<p>The program calling itself <strong>${waiting.consumer}</strong> wants to act as ${visit.actor.person.display_name} (${visit.actor.person.name}).</p>
<form method="post" action="/+authorize-token"><input type="hidden" name="form_token" value="${visit.formToken}"><input type="hidden" name="oauth_token" value="${token}">
${allowed.map((each) => html`<p><button name="permission" value="${each}">Allow: ${each.toLowerCase().replace("_", " ")}</button></p>`)}
<p><button name="permission" value="UNAUTHORIZED">Do not allow</button></p></form>`,
    );
    return reply.type("text/html;charset=utf-8").send(text);
  });

  app.post("/+authorize-token", async (request, reply) => {
    const visit = await visitOf(store, request);
    const form = await formOf(request);
    checkForm(request, visit, siteOf(request), form.text("form_token"));
    const permission = oneOf("permission", form.text("permission"), [...PERMISSIONS, "UNAUTHORIZED"]);
    await review(
      store,
      form.text("oauth_token"),
      visit.actor!.person,
      permission === "UNAUTHORIZED" ? null : permission,
    );
    const text =
      permission === "UNAUTHORIZED"
        ? "The program may not act for you."
        : "Almost finished: the program can go on now.";
    return reply
      .type("text/html;charset=utf-8")
      .send(page({ title: "Done", visit, path: "/bugs" }, html`<h1>${text}</h1>`));
  });

  app.post("/+access-token", async (request, reply) => {
    const form = await formOf(request);
    const got = await accessToken(store, form.text("oauth_token"), form.text("oauth_signature"));
    if ("status" in got) return reply.code(got.status).type("text/plain").send(got.message);
    const body = new URLSearchParams({ oauth_token: got.token, oauth_token_secret: got.secret, "lp.context": "None" });
    return reply.type("application/x-www-form-urlencoded").send(body.toString());
  });
}
