// The pages in Chromium: no serious finding of axe-core, everything by keyboard, reading and commenting without a script.
import { existsSync } from "node:fs";
import axe from "axe-core";
import type { FastifyInstance } from "fastify";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBug } from "../../packages/records/src/model/bugs.ts";
import { changeBug } from "../../packages/records/src/model/change.ts";
import { addAttachment, addMessage } from "../../packages/records/src/model/messages.ts";
import { actorFor, ensurePerson, setPassword } from "../../packages/records/src/model/people.ts";
import { ensureTarget } from "../../packages/records/src/model/targets.ts";
import { editTask, tasksOf } from "../../packages/records/src/model/tasks.ts";
import { buildServer } from "../../packages/records/src/service/server.ts";
import type { Store } from "../../packages/records/src/store/open.ts";
import { temporaryStore } from "../../packages/records/src/testing/temporary-store.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));
const missing = executablePath === undefined ? "(chromium is not installed)" : "";

let store: Store;
let app: FastifyInstance;
let site: string;
let browser: Browser;

describe.skipIf(missing !== "")(`pages in Chromium ${missing}`, () => {
  beforeAll(async () => {
    store = await temporaryStore();
    const smb = await actorFor(store, await ensurePerson(store, { name: "smb", displayName: "Stefan Bader" }));
    await setPassword(store, smb.person, "correct horse");
    const id = await createBug(store, smb, {
      title: "It hangs",
      description: "At boot. See http://example.org/",
      targets: [await ensureTarget(store, "ubuntu/+source/linux")],
      tags: ["xen"],
    });
    await changeBug(store, smb, id, (change) => addMessage(change, { content: `A long one. ${"word ".repeat(1000)}` }));
    await addAttachment(store, smb, id, { bytes: Buffer.from("text"), fileName: "a.txt", contentType: "text/plain" });
    const [task] = await tasksOf(store.db, id);
    await changeBug(store, smb, id, (change) => editTask(change, task!.id, { status: "In Progress" }));
    app = await buildServer({ store, rate: 0 });
    site = await app.listen({ host: "127.0.0.1", port: 0 });
    browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
  });
  afterAll(async () => {
    await browser?.close();
    await app?.close();
    await store?.close();
  });

  async function logIn(page: Page): Promise<void> {
    await page.goto(`${site}/+login?to=/bugs/1`);
    // By keyboard alone: to the name, to the password, Enter.
    await page.focus("#name");
    await page.keyboard.type("smb");
    await page.keyboard.press("Tab");
    await page.keyboard.type("correct horse");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${site}/bugs/1`);
  }

  it("have no serious finding of axe-core", async () => {
    const context = await browser.newContext({ bypassCSP: true });
    const page = await context.newPage();
    await logIn(page);
    const paths = [
      "/bugs",
      "/bugs?q=hangs",
      "/bugs/1",
      "/bugs/1/+activity",
      "/bugs/1/comments/1",
      "/bugs/1/+attachment/1",
      "/~smb",
      "/ubuntu/+source/linux",
      "/ubuntu/+source/linux/+bug/1/+editstatus",
      "/+login",
      "/bugs/4711",
    ];
    const serious: string[] = [];
    for (const path of paths) {
      await page.goto(site + path);
      await page.evaluate(axe.source);
      const { violations } = (await page.evaluate("axe.run()")) as axe.AxeResults;
      for (const each of violations) {
        if (each.impact === "serious" || each.impact === "critical")
          serious.push(`${path}: ${each.id} ${each.nodes[0]?.html}`);
      }
    }
    await context.close();
    expect(serious).toEqual([]);
  });

  it("are read and commented on without a script, by keyboard", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(`${site}/bugs/1`);
    expect(await page.textContent("main")).toContain("To post a comment you must log in.");
    await logIn(page);
    await page.focus("#comment");
    await page.keyboard.type("Typed without a mouse.");
    for (let i = 0; i < 3; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${site}/bugs/1`);
    await page.waitForSelector("text=Typed without a mouse.");
    expect(await page.textContent("#comment-3")).toContain("Stefan Bader (smb) wrote");
    await context.close();
  });
});
