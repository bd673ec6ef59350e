// What the service must not do: tell of private records, believe a foreign form, run what was uploaded, grow without bound.
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { credentialsFile, issueAccess } from "../api/oauth.ts";
import { createBug, editBug } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { addAttachment, addMessage } from "../model/messages.ts";
import { type Actor, actorFor, ensurePerson, setPassword } from "../model/people.ts";
import { ensureTarget } from "../model/targets.ts";
import { buildServer } from "../service/server.ts";
import type { Store } from "../store/open.ts";
import { temporaryStore } from "../testing/temporary-store.ts";

let store: Store;
let app: FastifyInstance;
let smb: Actor;
let mallory: Actor;
let secret: number;
let open: number;
let file: number;
const tokens = new Map<string, string>();
const HOST = "localhost";

beforeAll(async () => {
  store = await temporaryStore();
  app = await buildServer({ store, rate: 0, largestUpload: 1 << 20 });
  const person = async (name: string) =>
    actorFor(store, await ensurePerson(store, { name, displayName: `<b>${name}</b>` }));
  [smb, mallory] = [await person("smb"), await person("mallory")];
  for (const { person: who } of [smb, mallory]) {
    const made = await issueAccess(store, who, "test");
    tokens.set(
      who.name,
      `OAuth oauth_consumer_key="test", oauth_token="${made.token}", oauth_signature_method="PLAINTEXT", oauth_signature="%26${made.secret}"`,
    );
    expect(credentialsFile(made)).toContain(made.token);
  }
  await setPassword(store, smb.person, "correct horse");
  const targets = [await ensureTarget(store, "ubuntu/+source/linux")];
  secret = await createBug(store, smb, {
    id: 31415,
    title: "zebra secret",
    description: "zebra words",
    targets,
    tags: ["zebra"],
    informationType: "Private",
  });
  open = await createBug(store, smb, {
    title: `<script>alert("x")</script>`,
    description: `"><img src=x onerror=y>`,
    targets,
  });
  await changeBug(store, smb, secret, (change) => addMessage(change, { content: "zebra comment" }));
  file = (
    await addAttachment(store, smb, secret, {
      bytes: Buffer.from("zebra bytes"),
      fileName: "zebra.txt",
      contentType: "text/html",
    })
  ).id;
  await changeBug(store, smb, open, (change) => editBug(change, { duplicateOf: secret }));
});
afterAll(async () => {
  await app?.close();
  await store?.close();
});

const get = (url: string, who?: string) =>
  app.inject({ url, headers: { host: HOST, ...(who ? { authorization: tokens.get(who)! } : {}) } });

describe("a private record", () => {
  it.each([
    ["its page", "/bugs/SECRET"],
    ["its text", "/bugs/SECRET/+text"],
    ["its activity", "/bugs/SECRET/+activity"],
    ["a comment", "/bugs/SECRET/comments/1"],
    ["a comment's text", "/bugs/SECRET/comments/1/+download"],
    ["an attachment's page", "/bugs/SECRET/+attachment/FILE"],
    ["an attachment's bytes", "/bugs/SECRET/+attachment/FILE/+files/zebra.txt"],
    ["an attachment through another record", "/bugs/OPEN/+attachment/FILE/+files/zebra.txt"],
    ["its task's page", "/ubuntu/+source/linux/+bug/SECRET"],
    ["its entry", "/1.0/bugs/SECRET"],
    ["its task", "/1.0/ubuntu/+source/linux/+bug/SECRET"],
    ["its messages", "/1.0/bugs/SECRET/messages"],
    ["a message", "/1.0/bugs/SECRET/comments/1"],
    ["its data", "/devel/bugs/SECRET/+attachment/FILE/data"],
    ["its activity entries", "/1.0/bugs/SECRET/activity"],
  ])("is not told by %s", async (_what, path) => {
    const url = path.replace("SECRET", String(secret)).replace("OPEN", String(open)).replace("FILE", String(file));
    for (const who of [undefined, "mallory"]) {
      const answer = await get(url, who);
      expect(answer.statusCode).toBe(404);
      expect(answer.body).not.toContain("zebra ");
    }
    const missing = await get(url.replace(String(secret), "4711"), "mallory");
    expect((await get(url, "mallory")).body.replaceAll(String(secret), "N")).toBe(missing.body.replaceAll("4711", "N"));
  });

  it.each([
    ["search", "/bugs?q=zebra"],
    ["a search by tag", "/bugs?tags=zebra"],
    ["a search by number", "/bugs?q=SECRET"],
    ["the feed", "/bugs.atom"],
    ["the person's records", "/~smb?q=zebra"],
    ["the package's records", "/ubuntu/+source/linux?q=zebra"],
    ["the API's search", "/1.0/ubuntu?ws.op=searchTasks&search_text=zebra"],
    ["the API's count", "/1.0/bugs?ws.op=searchTasks&search_text=zebra&ws.show=total_size"],
    ["all records of the API", "/1.0/bugs"],
    ["what it is the main one of", "/1.0/bugs/OPEN"],
    ["the page of its duplicate", "/bugs/OPEN"],
    ["CVEs", "/1.0/bugs/cve/2020-1234/bugs"],
  ])("is neither listed nor counted in %s", async (_what, path) => {
    const url = path.replace("SECRET", String(secret)).replace("OPEN", String(open));
    for (const who of [undefined, "mallory"]) {
      const answer = await get(url, who);
      expect(answer.statusCode).toBe(200);
      expect(answer.body).not.toContain("zebra ");
      expect(answer.body).not.toContain(`bugs/${secret}"`);
      if (path.includes("total_size")) expect(answer.body).toBe("0");
      if (path === "/1.0/bugs") expect(answer.json()).toMatchObject({ total_size: 1 });
    }
  });

  it("is seen by its reporter, and is in no number of the metrics", async () => {
    expect((await get(`/1.0/bugs/${secret}`, "smb")).json()).toMatchObject({ title: "zebra secret", private: true });
    expect((await get("/metrics")).body).toContain("palimpsest_public_records 1\n");
  });
});

describe("a form", () => {
  const form = (values: Record<string, string>) => new URLSearchParams(values).toString();
  const post = (url: string, values: Record<string, string>, headers: Record<string, string> = {}) =>
    app.inject({
      method: "POST",
      url,
      payload: form(values),
      headers: { host: HOST, "content-type": "application/x-www-form-urlencoded", ...headers },
    });

  async function session(): Promise<{ cookie: string; token: string }> {
    const answer = await post("/+login", { name: "smb", password: "correct horse", to: "/bugs" });
    expect([answer.statusCode, answer.headers.location]).toEqual([303, "/bugs"]);
    const cookie = String(answer.headers["set-cookie"]);
    expect(cookie).toMatch(/HttpOnly; SameSite=Lax/);
    const short = cookie.split(";")[0]!;
    const { body } = await app.inject({ url: `/bugs/${open}`, headers: { host: HOST, cookie: short } });
    return { cookie: short, token: /name="form_token" value="([^"]+)"/.exec(body)![1]! };
  }

  it("without the session's token, or from another site, changes nothing", async () => {
    const { cookie, token } = await session();
    const url = `/bugs/${open}/+addcomment`;
    const count = async () =>
      (await store.db.selectFrom("message").select("id").where("bug_id", "=", open).execute()).length;
    const before = await count();
    for (const [values, headers] of [
      [{ comment: "x" }, { cookie }],
      [{ comment: "x", form_token: `${token.slice(0, -1)}A` }, { cookie }],
      [{ comment: "x", form_token: token }, {}],
      [
        { comment: "x", form_token: token },
        { cookie, origin: "http://evil.example" },
      ],
    ] as const) {
      expect((await post(url, values, headers)).statusCode).toBe(403);
    }
    expect(await count()).toBe(before);
    expect(
      (await post(url, { comment: "mine", form_token: token }, { cookie, origin: `http://${HOST}` })).statusCode,
    ).toBe(303);
    expect(await count()).toBe(before + 1);
  });

  it("does not lead to another site, and tells no name from a wrong password", async () => {
    for (const to of ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]) {
      expect((await post("/+login", { name: "smb", password: "correct horse", to })).headers.location).toBe("/bugs");
    }
    const [one, two] = [
      await post("/+login", { name: "smb", password: "x" }),
      await post("/+login", { name: "nobody-here", password: "x" }),
    ];
    expect([one!.statusCode, one!.body]).toEqual([403, two!.body]);
  });
});

describe("what was written", () => {
  it("is text wherever it is shown", async () => {
    for (const url of [
      `/bugs/${open}`,
      "/bugs?q=%3Cscript%3Ealert(1)%3C/script%3E",
      "/~smb",
      "/bugs.atom",
      `/bugs/${open}/+activity`,
      "/%3Cscript%3E",
      "/1.0/",
    ]) {
      const { body } = await get(url);
      expect(body).not.toMatch(/<script|<img|<b>smb/);
    }
    expect((await get(`/bugs/${open}`)).headers["content-security-policy"]).toContain("default-src 'none'");
  });

  it("and uploaded is saved, never shown as a page", async () => {
    const answer = await get(`/1.0/bugs/${secret}/+attachment/${file}/data`, "smb");
    expect([answer.body, answer.headers["content-type"]]).toEqual(["zebra bytes", "application/octet-stream"]);
    expect(answer.headers["content-disposition"]).toMatch(/^attachment; /);
    expect([answer.headers["x-content-type-options"], answer.headers["content-security-policy"]]).toEqual([
      "nosniff",
      "default-src 'none'; sandbox",
    ]);
  });

  it("to the database is never a statement", async () => {
    const nasty = "'; drop table bug; --";
    for (const url of [
      `/bugs?q=${encodeURIComponent(nasty)}`,
      `/bugs?tags=${encodeURIComponent(nasty)}`,
      `/1.0/bugs?ws.op=searchTasks&search_text=${encodeURIComponent(nasty)}`,
    ]) {
      expect((await get(url)).statusCode).toBe(200);
    }
    expect((await get(`/1.0/bugs?ws.op=searchTasks&order_by=${encodeURIComponent(nasty)}`)).statusCode).toBe(400);
    expect((await get("/1.0/bugs")).json()).toMatchObject({ total_size: 1 });
  });
});

describe("a bad request", () => {
  const send = (
    method: "POST" | "PATCH" | "DELETE" | "PUT",
    url: string,
    payload: string,
    type: string,
    headers: Record<string, string> = {},
  ) =>
    app.inject({
      method,
      url,
      payload,
      headers: { host: HOST, authorization: tokens.get("smb")!, "content-type": type, ...headers },
    });
  const FORM = "application/x-www-form-urlencoded";

  it.each([
    [
      "PATCH",
      "/1.0/bugs/OPEN",
      '{"nonsense":1}',
      "application/json",
      400,
      "nonsense: You tried to modify a nonexistent attribute.",
    ],
    [
      "PATCH",
      "/1.0/bugs/OPEN",
      '{"heat":1}',
      "application/json",
      400,
      "heat: You tried to modify a read-only attribute.",
    ],
    ["PATCH", "/1.0/bugs/OPEN", "{", "application/json", 400, "Entity-body was not a well-formed JSON document."],
    ["PATCH", "/1.0/bugs/OPEN", "[]", "application/json", 400, "Expected a JSON hash."],
    ["PATCH", "/1.0/bugs/OPEN", '{"title":""}', "application/json", 400, "title: Required input is missing."],
    ["PATCH", "/1.0/bugs/OPEN", '{"title":null}', "application/json", 400, "title: Required input is missing."],
    [
      "PATCH",
      "/1.0/bugs/OPEN",
      '{"duplicate_of_link":"http://x/1.0/~smb"}',
      "application/json",
      400,
      "duplicate_of: Expected a link to a bug.",
    ],
    ["POST", "/1.0/bugs", "ws.op=createBug&title=x", FORM, 400, "description: Required input is missing."],
    [
      "POST",
      "/1.0/bugs",
      "ws.op=createBug&title=x&description=y&target=/nowhere",
      FORM,
      400,
      'target: No such object "nowhere".',
    ],
    ["POST", "/1.0/bugs", "ws.op=dropTables", FORM, 400, "No such operation: dropTables"],
    ["POST", "/1.0/bugs", "", FORM, 400, "No operation name given."],
    ["POST", "/1.0/bugs/4711", "ws.op=newMessage&content=x", FORM, 404, "bug 4711 does not exist"],
    ["DELETE", "/1.0/bugs/OPEN", "", FORM, 405, "Method not allowed."],
    ["DELETE", "/1.0/ubuntu/+source/linux/+bug/OPEN", "", FORM, 409, "Cannot delete only bugtask affecting a bug."],
  ] as const)("%s %s %s gets Launchpad's answer", async (method, url, payload, type, status, words) => {
    const answer = await send(method, url.replace("OPEN", String(open)), payload, type);
    expect([answer.statusCode, answer.body]).toEqual([status, words]);
    expect(answer.headers["content-type"]).toMatch(/^text\/plain/);
  });

  it("is stale, or of a token that is none", async () => {
    const stale = await send("PATCH", `/1.0/bugs/${open}`, '{"title":"y"}', "application/json", {
      "if-match": '"a-b"',
    });
    expect(stale.statusCode).toBe(412);
    const unknown = await app.inject({
      url: "/1.0/people/+me",
      headers: { host: HOST, authorization: 'OAuth oauth_token="x", oauth_signature="%26y"' },
    });
    expect([unknown.statusCode, unknown.body]).toEqual([401, "Unknown access token (x)."]);
  });

  it("that is too large, or names another path, is refused", async () => {
    expect((await send("POST", "/1.0/bugs", `ws.op=createBug&title=${"x".repeat(5 << 20)}`, FORM)).statusCode).toBe(
      413,
    );
    const boundary = "b";
    const part = (name: string, value: string, more = "") =>
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
    const upload =
      part("ws.op", "addAttachment") +
      part("comment", "x") +
      part("filename", "f") +
      part("data", "y".repeat(2 << 20), '; filename="f"');
    const big = await send(
      "POST",
      `/1.0/bugs/${open}`,
      `${upload}--${boundary}--\r\n`,
      `multipart/form-data; boundary=${boundary}`,
    );
    expect(big.statusCode).toBe(413);
    for (const url of [
      "/../../etc/passwd",
      "/bugs/1/+attachment/..%2f..%2fetc%2fpasswd",
      "/style.css/../../../etc/passwd",
      "/1.0/..%2f..%2fetc",
      "/bugs/%00",
      "/bugs/1e3",
      "/%E0%A4%A",
      "/~..%2f",
    ]) {
      const answer = await get(url);
      expect([400, 404]).toContain(answer.statusCode);
      expect(answer.body).not.toContain("root:");
    }
  });

  it("too often waits", async () => {
    const limited = await buildServer({ store, rate: 3 });
    const codes = [];
    for (let i = 0; i < 5; i++)
      codes.push((await limited.inject({ url: "/robots.txt", headers: { host: HOST } })).statusCode);
    await limited.close();
    expect(codes).toEqual([200, 200, 200, 429, 429]);
  });
});

it("tokens and passwords are stored as digests alone", async () => {
  const rows = JSON.stringify([
    await store.db.selectFrom("token").selectAll().execute(),
    await store.db.selectFrom("person").selectAll().execute(),
  ]);
  const given = /oauth_token="([^"]+)".*%26([^"]+)"/.exec(tokens.get("smb")!)!;
  expect([rows.includes(given[1]!), rows.includes(given[2]!), rows.includes("correct horse")]).toEqual([
    false,
    false,
    false,
  ]);
  expect((await get("/healthz")).body).toBe("ok\n");
});
