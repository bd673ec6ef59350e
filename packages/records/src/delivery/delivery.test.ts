// Hooks and mail against real local servers: signed, tried again until taken, and nothing private to whoever may not see it.
import { createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createBug, editBug } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { subscribe, unsubscribe } from "../model/links.ts";
import { addMessage } from "../model/messages.ts";
import { type Actor, actorFor, ensurePerson } from "../model/people.ts";
import { ensureTarget } from "../model/targets.ts";
import type { Store } from "../store/open.ts";
import { temporaryStore } from "../testing/temporary-store.ts";
import { deliverOnce } from "./worker.ts";

let store: Store;
let now = new Date("2026-01-01T00:00:00Z");
let smb: Actor;
let apw: Actor;
let web: Server;
let smtp: SMTPServer;
let port: number;
let smtpPort: number;
const received: { body: string; headers: IncomingMessage["headers"] }[] = [];
const mails: { to: string; text: string }[] = [];
let answerWith = 200;

beforeAll(async () => {
  store = await temporaryStore({ now: () => now });
  const person = async (name: string) =>
    actorFor(store, await ensurePerson(store, { name, displayName: name.toUpperCase(), email: `${name}@example.org` }));
  [smb, apw] = [await person("smb"), await person("apw")];
  web = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += String(part);
    received.push({ body, headers: request.headers });
    response.statusCode = answerWith;
    response.end();
  });
  await new Promise<void>((done) => web.listen(0, "127.0.0.1", done));
  port = (web.address() as AddressInfo).port;
  smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    onData: (stream, session, done) => {
      let text = "";
      stream.on("data", (part: Buffer) => {
        text += part.toString("utf8");
      });
      stream.on("end", () => {
        mails.push({ to: session.envelope.rcptTo.map((each) => each.address).join(","), text });
        done();
      });
    },
  });
  await new Promise<void>((done) => smtp.listen(0, "127.0.0.1", done));
  smtpPort = (smtp.server.address() as AddressInfo).port;
});
afterAll(async () => {
  web?.close();
  smtp?.close();
  await store?.close();
});

const deliver = () =>
  deliverOnce({
    store,
    site: "http://records.example",
    smtp: `smtp://127.0.0.1:${smtpPort}`,
    signal: new AbortController().signal,
  });
async function bug(informationType = "Public"): Promise<number> {
  const targets = [await ensureTarget(store, "ubuntu/+source/linux")];
  return createBug(store, smb, { title: "A hang", description: "It hangs.", targets, informationType });
}

it("a hook is signed, tried again after a refusal, and given each change at least once", async () => {
  const values = { url: `http://127.0.0.1:${port}/hook`, secret: "s3cret", owner_id: apw.person.id, date_created: now };
  await store.db.insertInto("webhook").values(values).execute();
  answerWith = 503;
  const id = await bug();
  await deliver();
  expect(received.length).toBe(1);
  await deliver(); // not before its time
  expect(received.length).toBe(1);
  answerWith = 200;
  now = new Date(now.getTime() + 60_000);
  await deliver();
  await deliver();
  expect(received.length).toBe(2);
  const { body, headers } = received[1]!;
  expect(body).toBe(received[0]!.body);
  expect(headers["x-hub-signature-256"]).toBe(`sha256=${createHmac("sha256", "s3cret").update(body).digest("hex")}`);
  expect(JSON.parse(body)).toMatchObject({
    event: "bug:created",
    bug: { id, title: "A hang", url: `http://records.example/bugs/${id}` },
    by: "smb",
  });
});

it("a hook hears nothing of what its owner may not see", async () => {
  received.length = 0;
  const id = await bug("Private");
  await changeBug(store, smb, id, (change) => addMessage(change, { content: "secret" }));
  await deliver();
  expect(received).toEqual([]);
});

it("mail goes to subscribers who may see the record, not to who changed it, and ends with the subscription", async () => {
  const id = await bug();
  await changeBug(store, smb, id, (change) => subscribe(change, apw.person));
  await deliver();
  mails.length = 0;
  await changeBug(store, smb, id, (change) => addMessage(change, { content: "Look at floppy_lock." }));
  await deliver();
  expect(mails.map((mail) => mail.to)).toEqual(["apw@example.org"]);
  expect(mails[0]!.text).toContain(`Subject: [Bug ${id}] A hang`);
  expect(mails[0]!.text).toContain("Look at floppy_lock.");
  mails.length = 0;
  await changeBug(store, smb, id, (change) => unsubscribe(change, apw.person));
  await changeBug(store, smb, id, (change) => editBug(change, { title: "Another title" }));
  await deliver();
  expect(mails).toEqual([]);
});

it("what became private before the mail went is not mailed", async () => {
  const id = await bug();
  await changeBug(store, smb, id, (change) => subscribe(change, apw.person));
  await deliver();
  mails.length = 0;
  await changeBug(store, smb, id, (change) => addMessage(change, { content: "soon secret" }));
  await changeBug(store, smb, id, (change) => editBug(change, { informationType: "Private" }));
  await changeBug(store, smb, id, (change) => unsubscribe(change, apw.person));
  await deliver();
  expect(mails).toEqual([]);
});
