// kill -9 while a process writes: what was acknowledged is there, nothing is there by half, and the store opens by itself.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBug } from "../../packages/records/src/model/bugs.ts";
import { actorFor, ensurePerson } from "../../packages/records/src/model/people.ts";
import { ensureTarget } from "../../packages/records/src/model/targets.ts";
import { tasksOf } from "../../packages/records/src/model/tasks.ts";
import { statusTitle } from "../../packages/records/src/model/words.ts";
import { openStore } from "../../packages/records/src/store/open.ts";
import { type Cluster, noPostgres, startPostgres } from "../../packages/records/src/testing/postgres.ts";
import { temporaryFolder } from "../../packages/records/src/testing/temporary-store.ts";

/** Moments at which the writer is killed: some on each run, all of the with PALIMPSEST_KILLS=200. */
const kills = Number(process.env.PALIMPSEST_KILLS ?? "12");
const root = join(import.meta.dirname, "../..");
let work: string;
let program: string;

beforeAll(async () => {
  // Beside node_modules, so that the packages outside the bundle are found.
  work = mkdtempSync(join(root, "dist", "kill-"));
  program = join(work, "writer.mjs");
  await build({
    entryPoints: [join(root, "packages/records/bench/writer.ts")],
    outfile: program,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
  });
});
afterAll(() => {
  if (work) rmSync(work, { recursive: true, force: true });
});

async function newBug(name: string): Promise<number> {
  const store = await openStore({ store: name, blobs: join(tmpdir(), "none") });
  const actor = await actorFor(store, await ensurePerson(store, { name: "smb" }));
  const id = await createBug(store, actor, {
    title: "killed",
    description: "x",
    targets: [await ensureTarget(store, "ubuntu/+source/linux")],
  });
  await store.close();
  return id;
}

/** Runs the writer until it has said some counts and a random moment longer, kills it. @returns the last count that it said */
async function writeAndKill(name: string, bug: number, start: number, counts: number): Promise<number> {
  const child = spawn(process.execPath, [program, name, String(bug), String(start)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  const enough = new Promise<void>((done, failed) => {
    child.stdout.on("data", (part: Buffer) => {
      said += part.toString();
      if (said.split("\n").length > counts + 1) done();
    });
    child.once("exit", () => failed(new Error("the writer ended by itself")));
  });
  await enough;
  child.removeAllListeners("exit");
  await wait(Math.random() * 60);
  const gone = new Promise((done) => child.once("close", done));
  child.kill("SIGKILL");
  await gone;
  const whole = said.slice(0, said.lastIndexOf("\n")).trim().split("\n");
  return whole.length > 1 ? Number(whole.at(-1)) : start - 1;
}

/** What the store holds: as many comments as counts, the last one's status, one activity entry each. */
async function check(name: string, bug: number, acknowledged: number): Promise<number> {
  const store = await openStore({ store: name, blobs: join(tmpdir(), "none") });
  try {
    const rows = await store.db
      .selectFrom("message")
      .select(["index", "content"])
      .where("bug_id", "=", bug)
      .orderBy("index")
      .execute();
    const { message_count } = await store.db
      .selectFrom("bug")
      .select("message_count")
      .where("id", "=", bug)
      .executeTakeFirstOrThrow();
    const counts = rows.slice(1).map((row) => Number(row.content.split(" ")[1]));
    expect(counts).toEqual(counts.map((_, at) => at)); // each once, in order
    expect(counts.length - 1).toBeGreaterThanOrEqual(acknowledged); // nothing acknowledged is lost
    expect(message_count).toBe(rows.length);
    const comments = await store.db
      .selectFrom("activity")
      .select("id")
      .where("bug_id", "=", bug)
      .where("what", "=", "comment")
      .execute();
    expect(comments.length).toBe(counts.length);
    const [task] = await tasksOf(store.db, bug);
    const last = rows.at(-1)!.content;
    if (counts.length > 0) expect(last).toBe(`count ${counts.at(-1)} ${statusTitle(task!.status)}`);
    return counts.length;
  } finally {
    await store.close();
  }
}

describe("kill -9 at random moments", () => {
  it(`loses nothing of a folder (${kills} times)`, async () => {
    const folder = await temporaryFolder();
    try {
      const bug = await newBug(folder);
      let next = 0;
      for (let i = 0; i < kills; i++) {
        const acknowledged = await writeAndKill(folder, bug, next, Math.floor(Math.random() * 4));
        next = await check(folder, bug, acknowledged);
      }
      expect(next).toBeGreaterThan(kills / 2);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  describe.skipIf(noPostgres !== undefined)(`PostgreSQL ${noPostgres ?? ""}`, () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startPostgres(["synchronous_commit=on"]);
    });
    afterAll(async () => {
      await cluster?.stop();
    });
    it(`loses nothing of the writer (${kills} times), nor of the server`, async () => {
      const name = await cluster.database("killed");
      const bug = await newBug(name);
      let next = 0;
      for (let i = 0; i < kills; i++) {
        const acknowledged = await writeAndKill(name, bug, next, Math.floor(Math.random() * 4));
        if (i % 4 === 3) {
          await cluster.kill();
          await cluster.start();
        }
        next = await check(name, bug, acknowledged);
      }
      expect(next).toBeGreaterThan(kills / 2);
    });

    it("gives two processes that write at once one history", async () => {
      const name = await cluster.database("two");
      const bug = await newBug(name);
      const store = await openStore({ store: name, blobs: join(tmpdir(), "none") });
      const ends = await Promise.all([writeAndKill(name, bug, 0, 20), writeAndKill(name, bug, 0, 20)]);
      const rows = await store.db
        .selectFrom("message")
        .select("index")
        .where("bug_id", "=", bug)
        .orderBy("index")
        .execute();
      await store.close();
      expect(rows.map((row) => row.index)).toEqual(rows.map((_, at) => at));
      expect(rows.length - 1).toBeGreaterThanOrEqual(ends[0] + ends[1] + 2);
    });
  });
});
