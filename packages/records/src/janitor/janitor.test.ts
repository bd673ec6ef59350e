// The Janitor over a store: series rules, once and only once, and what it leaves alone.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBug, markAffected } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { addMessage, messagesOf } from "../model/messages.ts";
import { type Actor, actorFor, ensurePerson } from "../model/people.ts";
import { ensureSeries, ensureTarget, findPillar, targetAt } from "../model/targets.ts";
import { addTask, editTask, tasksOf } from "../model/tasks.ts";
import { stateOf, versionStates } from "../model/versions.ts";
import type { Store } from "../store/open.ts";
import { temporaryStore } from "../testing/temporary-store.ts";
import { parseChangelog } from "./changelog.ts";
import { closeFromEntries } from "./close.ts";
import { confirm, expire } from "./jobs.ts";

let store: Store;
let smb: Actor;
let now = new Date("2011-08-31T12:00:00Z");

beforeAll(async () => {
  store = await temporaryStore({ now: () => now });
  smb = { ...(await actorFor(store, await ensurePerson(store, { name: "smb" }))), isAll: true };
  const ubuntu = (await findPillar(store.db, "ubuntu"))!;
  await ensureSeries(store, ubuntu, "oneiric", { current: true });
  await ensureSeries(store, ubuntu, "natty");
});
afterAll(async () => {
  await store?.close();
});

async function bug(...paths: string[]): Promise<number> {
  const [first, ...more] = await Promise.all(paths.map((path) => ensureTarget(store, path)));
  const id = await createBug(store, smb, { title: "A hang", description: "It hangs.", targets: [first!] });
  for (const target of more) await changeBug(store, smb, id, (change) => addTask(change, target));
  return id;
}
const upload = (text: string, options: Parameters<typeof closeFromEntries>[2] = {}) =>
  closeFromEntries(store, parseChangelog(text), options);
const entry = (changes: string, series = "oneiric", version = "3.0.0-10.16", source = "linux") =>
  `${source} (${version}) ${series}; urgency=low\n\n  * ${changes}\n\n -- A B <a@example.org>  Fri, 09 Sep 2011 14:02:11 -0700\n`;
const statuses = async (id: number) => (await tasksOf(store.db, id)).map((task) => task.status);
const comments = async (id: number) => (await messagesOf(store.db, id)).slice(1).map((message) => message.content);

describe("an upload", () => {
  it("releases the series' task, says it in Launchpad's words, and does it once", async () => {
    const id = await bug("ubuntu/+source/linux", "ubuntu/oneiric/+source/linux");
    const text = entry(`Fix it (LP: #${id})`);
    expect((await upload(text)).map((each) => [each.outcome, each.task])).toEqual([
      ["closed", "linux (Ubuntu Oneiric)"],
    ]);
    expect(await statuses(id)).toEqual([30, 30]);
    expect(await comments(id)).toEqual([
      `This bug was fixed in the package linux - 3.0.0-10.16\n\n---------------\n${text.trimEnd()}`,
    ]);
    expect((await upload(text)).map((each) => each.outcome)).toEqual(["before"]);
    expect((await comments(id)).length).toBe(1);
    const states = await versionStates(store.db, id, (await findPillar(store.db, "ubuntu"))!.id, "linux");
    expect(states).toEqual([{ version: "3.0.0-10.16", state: "fixed" }]);
  });

  it("of several processes at once makes one comment", async () => {
    const id = await bug("ubuntu/+source/linux");
    const text = entry(`LP: #${id}`);
    const outcomes = (await Promise.all([upload(text), upload(text), upload(text)])).flat().map((each) => each.outcome);
    expect(outcomes.sort()).toEqual(["before", "before", "closed"]);
    expect((await comments(id)).length).toBe(1);
  });

  it("to another series leaves a record alone that has a task for the current one", async () => {
    const id = await bug("ubuntu/+source/linux", "ubuntu/oneiric/+source/linux");
    expect((await upload(entry(`LP: #${id}`, "natty"))).map((each) => each.outcome)).toEqual(["no-task"]);
    const other = await bug("ubuntu/+source/linux", "ubuntu/natty/+source/linux");
    expect((await upload(entry(`LP: #${other}`, "natty"))).map((each) => each.task)).toEqual(["linux (Ubuntu Natty)"]);
    expect(await statuses(other)).toEqual([10, 30]);
  });

  it("to -proposed, -backports or UNRELEASED closes nothing; to -updates it does", async () => {
    const id = await bug("ubuntu/+source/linux");
    for (const suite of ["oneiric-proposed", "oneiric-backports", "UNRELEASED"])
      expect(await upload(entry(`LP: #${id}`, suite))).toEqual([]);
    expect((await upload(entry(`LP: #${id}`, "oneiric-updates"))).map((each) => each.outcome)).toEqual(["closed"]);
  });

  it("of another package, of an unknown number or of a released task says nothing", async () => {
    const id = await bug("ubuntu/+source/linux");
    expect((await upload(entry(`LP: #${id}`, "oneiric", "1", "xen"))).map((each) => each.outcome)).toEqual(["no-task"]);
    expect((await upload(entry("LP: #7654321, #99999999999"))).map((each) => each.outcome)).toEqual(["no-record"]);
    const [task] = await tasksOf(store.db, id);
    await changeBug(store, smb, id, (change) => editTask(change, task!.id, { status: "Fix Released" }));
    expect((await upload(entry(`LP: #${id}`))).map((each) => each.outcome)).toEqual(["was-released"]);
    expect(await comments(id)).toEqual([]);
  });

  it("closes by Closes: in Debian, and in a copied package by both", async () => {
    const debian = await bug("debian/+source/linux");
    expect((await upload(entry(`Closes: #${debian}`, "unstable"))).map((each) => each.task)).toEqual([
      "linux (Debian)",
    ]);
    const copied = await bug("ubuntu/+source/linux");
    expect(await upload(entry(`Closes: #${copied}`))).toEqual([]);
    expect((await upload(entry(`Closes: #${copied}`), { isCopy: true })).map((each) => each.outcome)).toEqual([
      "closed",
    ]);
  });

  it("changes nothing when it is only asked what it would do", async () => {
    const id = await bug("ubuntu/+source/linux");
    expect((await upload(entry(`LP: #${id}`), { dryRun: true })).map((each) => each.outcome)).toEqual(["closed"]);
    expect([await statuses(id), await comments(id)]).toEqual([[10], []]);
  });
});

describe("the other jobs", () => {
  it("expire what was not answered for 60 days, and only that", async () => {
    const ids = [
      await bug("ubuntu/+source/quiet"),
      await bug("ubuntu/+source/quiet"),
      await bug("ubuntu/+source/quiet", "ubuntu/+source/other"),
    ];
    for (const id of ids) {
      const [task] = await tasksOf(store.db, id);
      await changeBug(store, smb, id, (change) => editTask(change, task!.id, { status: "Incomplete" }));
    }
    await changeBug(store, smb, ids[1]!, (change) => addMessage(change, { content: "an answer" }));
    now = new Date(now.getTime() + 59 * 86_400_000);
    expect(await expire(store)).toEqual([]);
    now = new Date(now.getTime() + 2 * 86_400_000);
    expect(await expire(store)).toEqual([{ bug: ids[0], task: "quiet (Ubuntu)" }]);
    expect(await comments(ids[0]!)).toEqual([
      "[Expired for quiet (Ubuntu) because there has been no activity for 60 days.]",
    ]);
    expect(await statuses(ids[2]!)).toEqual([14, 10]);
    expect(await expire(store)).toEqual([]);
  });

  it("confirm what several people have", async () => {
    const id = await bug("ubuntu/+source/popular");
    expect(await confirm(store)).toEqual([]);
    await markAffected(store, await actorFor(store, await ensurePerson(store, { name: "apw" })), id, true);
    expect(await confirm(store)).toEqual([{ bug: id, task: "popular (Ubuntu)" }]);
    expect(await comments(id)).toEqual(["Status changed to 'Confirmed' because the bug affects multiple users."]);
    expect(await confirm(store)).toEqual([]);
  });
});

describe("the version graph", () => {
  const parents = new Map([
    ["4", "3"],
    ["3", "2"],
    ["2", "1"],
    ["1", null],
    ["2+b", "1"],
    ["0.5", null],
  ]);
  const graph = (found: string[], fixed: string[]) => ({ parents, found: new Set(found), fixed: new Set(fixed) });
  it("lets the nearest mark below decide, found before fixed", () => {
    const marks = graph(["1"], ["3"]);
    expect(["4", "3", "2", "1", "2+b", "0.5", "9"].map((version) => stateOf(marks, version))).toEqual([
      "fixed",
      "fixed",
      "found",
      "found",
      "found",
      "absent",
      "unknown",
    ]);
    expect(stateOf(graph(["3"], ["3"]), "4")).toBe("found");
    expect(stateOf(graph([], []), "4")).toBe("unknown");
  });
  it("ends where ancestry goes in a circle", async () => {
    expect(
      stateOf(
        {
          parents: new Map([
            ["a", "b"],
            ["b", "a"],
          ]),
          found: new Set(["c"]),
          fixed: new Set(),
        },
        "a",
      ),
    ).toBe("absent");
    expect((await targetAt(store.db, "ubuntu")).pillar.name).toBe("ubuntu");
  });
});
