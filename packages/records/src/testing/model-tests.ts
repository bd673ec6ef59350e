// What must hold of the model, whichever database is under it: run on PGlite by the fast suite, on PostgreSQL by the
// slow one.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import { readBug } from "../model/access.ts";
import { createBug, editBug, markAffected } from "../model/bugs.ts";
import { changeBug } from "../model/change.ts";
import { decide, linkCve, nominate, subscribe, unsubscribe } from "../model/links.ts";
import { addAttachment, addMessage, editMessage, messagesOf } from "../model/messages.ts";
import { type Actor, actorFor, addMember, checkPassword, ensurePerson, janitor, setPassword } from "../model/people.ts";
import { countTasks, searchTasks } from "../model/search.ts";
import { ensureSeries, ensureTarget, findPillar, setSupervisor, targetAt } from "../model/targets.ts";
import { editTask, removeTask, tasksOf } from "../model/tasks.ts";
import type { Store } from "../store/open.ts";

const PAGE = { start: 0, size: 50 };

export function modelTests(name: string, open: () => Promise<Store>): void {
  describe(`records on ${name}`, () => {
    let store: Store;
    let smb: Actor;
    let apw: Actor;
    let boss: Actor;

    beforeAll(async () => {
      store = await open();
      const actor = async (each: string, displayName: string) =>
        actorFor(store, await ensurePerson(store, { name: each, displayName }));
      smb = await actor("smb", "Stefan Bader");
      apw = await actor("apw", "Andy Whitcroft");
      boss = await actor("boss", "The Supervisor");
    }, 120_000);
    afterAll(async () => {
      await store?.close();
    });

    async function bug(title = "Kernel hangs on boot", more: { target?: string; informationType?: string } = {}) {
      const targets = [await ensureTarget(store, more.target ?? "ubuntu/+source/linux")];
      return createBug(store, smb, { title, description: "It hangs.", targets, informationType: more.informationType });
    }
    const change = <T>(actor: Actor, id: number, work: Parameters<typeof changeBug<T>>[3]) =>
      changeBug(store, actor, id, work);
    const tasks = (id: number) => tasksOf(store.db, id);
    const activity = (id: number) =>
      store.db.selectFrom("activity").selectAll().where("bug_id", "=", id).orderBy("id").execute();

    it("keeps a task's dates as the status passes thresholds, and clears them when it falls back", async () => {
      const id = await bug();
      const [task] = await tasks(id);
      await change(smb, id, (c) => editTask(c, task!.id, { status: "In Progress", assignee: smb.person }));
      let now = (await tasks(id))[0]!;
      expect([now.status, now.assignee_id]).toEqual([22, smb.person.id]);
      expect([now.date_left_new, now.date_confirmed, now.date_in_progress].every((date) => date instanceof Date)).toBe(
        true,
      );
      expect([now.date_fix_committed, now.date_closed]).toEqual([null, null]);
      await change(smb, id, (c) => editTask(c, task!.id, { status: "Fix Released" }));
      now = (await tasks(id))[0]!;
      expect(now.date_closed).toBeInstanceOf(Date);
      await change(smb, id, (c) => editTask(c, task!.id, { status: "Confirmed" }));
      now = (await tasks(id))[0]!;
      expect([now.date_in_progress, now.date_fix_released, now.date_closed]).toEqual([null, null, null]);
      expect(now.date_left_closed).toBeInstanceOf(Date);
      expect((await activity(id)).map((entry) => `${entry.what}: ${entry.old_value} → ${entry.new_value}`)).toEqual([
        "bug: null → null",
        "linux (Ubuntu): status: New → In Progress",
        "linux (Ubuntu): assignee: null → Stefan Bader (smb)",
        "linux (Ubuntu): status: In Progress → Fix Released",
        "linux (Ubuntu): status: Fix Released → Confirmed",
      ]);
    });

    it("lets only supervisors say what supervisors say", async () => {
      const id = await bug("supervised", { target: "ubuntu/+source/supervised" });
      await setSupervisor(store, await targetAt(store.db, "ubuntu/+source/supervised"), boss.person);
      const [task] = await tasks(id);
      const set = (actor: Actor, edit: Parameters<typeof editTask>[2]) =>
        change(actor, id, (c) => editTask(c, task!.id, edit));
      for (const status of ["Won't Fix", "Deferred", "Expired", "Triaged", "Does Not Exist"]) {
        await expect(set(apw, { status })).rejects.toThrow(`Only Bug Supervisors may change status to ${status}.`);
      }
      await expect(set(apw, { importance: "High" })).rejects.toThrow(ForbiddenError);
      await expect(set(apw, { assignee: smb.person })).rejects.toThrow("assign and unassign only themselves");
      await set(apw, { assignee: apw.person, status: "Confirmed" });
      await set(boss, { status: "Won't Fix", importance: "High", assignee: smb.person });
      await expect(set(apw, { status: "New" })).rejects.toThrow(ForbiddenError);
      await set(boss, { status: "Fix Released" });
      await expect(set(apw, { status: "New" })).rejects.toThrow(ForbiddenError);
      await set(smb, { status: "New" }); // the reporter may leave Fix Released
      await expect(set(smb, { status: "Nonsense" })).rejects.toThrow('status: Invalid value "Nonsense"');
      expect((await tasks(id))[0]!.status).toBe(10);
    });

    it("changes the current series' task and the general task together, but for Won't Fix", async () => {
      const ubuntu = (await findPillar(store.db, "ubuntu"))!;
      await ensureSeries(store, ubuntu, "oneiric", { version: "11.10", current: true });
      await ensureSeries(store, ubuntu, "natty", { version: "11.04" });
      const id = await bug("conjoined");
      const all = await janitor(store);
      const target = await targetAt(store.db, "ubuntu/oneiric");
      const nomination = await change(smb, id, (c) => nominate(c, target));
      await expect(change(smb, id, (c) => decide(c, nomination, "Approved"))).rejects.toThrow(ForbiddenError);
      await change(all, id, (c) => decide(c, nomination, "Approved"));
      const [general, series] = await tasks(id);
      await change(smb, id, (c) => editTask(c, general!.id, { status: "Fix Committed", importance: "High" }));
      expect((await tasks(id)).map((task) => [task.status, task.importance])).toEqual([
        [25, 40],
        [25, 40],
      ]);
      expect((await activity(id)).at(-2)!.what).toBe("linux (Ubuntu Oneiric): status");
      await change(all, id, (c) => editTask(c, series!.id, { status: "Won't Fix" }));
      expect((await tasks(id)).map((task) => task.status)).toEqual([25, 17 + 1]);
      await change(smb, id, (c) => editTask(c, general!.id, { status: "In Progress" }));
      expect((await tasks(id)).map((task) => task.status)).toEqual([22, 18]);
    });

    it("hides a private record from search, count and reading, and shows it to a subscriber's team", async () => {
      const id = await bug("zebra secret", { informationType: "Private Security" });
      const find = async (actor: Actor | undefined) => [
        (await searchTasks(store.db, actor, { text: "zebra" }, PAGE)).length,
        await countTasks(store.db, actor, { text: "zebra" }),
      ];
      expect(await find(undefined)).toEqual([0, 0]);
      expect(await find(apw)).toEqual([0, 0]);
      expect(await find(smb)).toEqual([1, 1]);
      await expect(readBug(store.db, apw, id)).rejects.toThrow(MissingRecordError);
      await expect(change(apw, id, (c) => editBug(c, { title: "seen" }))).rejects.toThrow(MissingRecordError);
      const team = await ensurePerson(store, { name: "kernel-team", isTeam: true });
      await addMember(store, team, apw.person);
      await change(smb, id, (c) => subscribe(c, team));
      expect(await find(await actorFor(store, apw.person))).toEqual([1, 1]);
      await change(smb, id, (c) => unsubscribe(c, team));
      expect(await find(await actorFor(store, apw.person))).toEqual([0, 0]);
      expect((await readBug(store.db, smb, id)).heat).toBe(400 + 4 + 2);
    });

    it("counts heat by type, duplicates, people affected and subscribers", async () => {
      const main = await bug("main");
      const duplicate = await bug("duplicate");
      await change(smb, duplicate, (c) => editBug(c, { duplicateOf: main }));
      await markAffected(store, apw, main, true);
      await markAffected(store, apw, main, true);
      const row = await readBug(store.db, undefined, main);
      expect([row.number_of_duplicates, row.users_affected_count, row.heat]).toEqual([1, 2, 6 + 8 + 2]);
      await expect(change(smb, main, (c) => editBug(c, { duplicateOf: duplicate }))).rejects.toThrow(
        "already a duplicate",
      );
      await expect(change(smb, main, (c) => editBug(c, { duplicateOf: main }))).rejects.toThrow("of itself");
      const other = await bug("other");
      await change(smb, main, (c) => editBug(c, { duplicateOf: other }));
      expect((await readBug(store.db, undefined, duplicate)).duplicate_of).toBe(other);
      expect((await readBug(store.db, undefined, other)).number_of_duplicates).toBe(2);
    });

    it("finds by words of title, description and comments, by tags, status and number", async () => {
      const id = await bug("The walrus stops");
      await change(apw, id, (c) => addMessage(c, { content: "It is a pinniped indeed" }));
      await change(apw, id, (c) => editBug(c, { tags: ["xen", "boot"] }));
      const found = async (search: Parameters<typeof searchTasks>[2]) =>
        (await searchTasks(store.db, undefined, search, PAGE)).map((task) => task.bug_id);
      expect(await found({ text: "walruses stopping" })).toEqual([id]);
      expect(await found({ text: "pinniped" })).toEqual([id]);
      expect(await found({ text: "walrus -pinniped" })).toEqual([]);
      expect(await found({ text: String(id) })).toEqual([id]);
      expect(await found({ text: "walrus", tags: ["xen", "boot"], tagsCombinator: "All" })).toEqual([id]);
      expect(await found({ text: "walrus", tags: ["-xen"] })).toEqual([]);
      expect(await found({ text: "walrus", statuses: ["Fix Released"] })).toEqual([]);
      expect(await found({ text: "'); drop table bug; --" })).toEqual([]);
      await expect(found({ orderBy: ["constructor"] })).rejects.toThrow("order_by: Unrecognized sort key");
    });

    it("keeps what an edited comment said, and lets only its author edit it", async () => {
      const id = await bug();
      const { index } = await change(apw, id, (c) => addMessage(c, { content: "first" }));
      expect(index).toBe(1);
      await expect(change(smb, id, (c) => editMessage(c, 1, "forged"))).rejects.toThrow(ForbiddenError);
      await change(apw, id, (c) => editMessage(c, 1, "second"));
      const message = (await messagesOf(store.db, id))[1]!;
      expect([message.content, message.date_last_edited instanceof Date]).toEqual(["second", true]);
      const old = await store.db
        .selectFrom("message_revision")
        .selectAll()
        .where("message_id", "=", message.id)
        .execute();
      expect(old.map((row) => row.content)).toEqual(["first"]);
    });

    it("leaves nothing of a change that fails in its middle", async () => {
      const id = await bug("whole or not at all");
      const before = await activity(id);
      const half = change(smb, id, async (c) => {
        await editBug(c, { title: "half" });
        await addMessage(c, { content: "half" });
        throw new InvalidError("x", "refused");
      });
      await expect(half).rejects.toThrow("x: refused");
      expect((await readBug(store.db, undefined, id)).title).toBe("whole or not at all");
      expect([(await messagesOf(store.db, id)).length, await activity(id)]).toEqual([1, before]);
    });

    it("numbers comments without gap or double when many write at once", async () => {
      const id = await bug("busy");
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          change(i % 2 ? smb : apw, id, (c) => addMessage(c, { content: `say ${i}` })),
        ),
      );
      expect((await messagesOf(store.db, id)).map((message) => message.index)).toEqual(
        Array.from({ length: 21 }, (_, i) => i),
      );
      expect((await readBug(store.db, undefined, id)).message_count).toBe(21);
    });

    it("keeps an attachment's bytes by digest, under a harmless name", async () => {
      const id = await bug();
      const bytes = new TextEncoder().encode("--- a\n+++ b\n");
      const made = await addAttachment(store, apw, id, { bytes, fileName: "../../etc/fix.patch", isPatch: true });
      expect([made.file_name, made.content_type, made.size]).toEqual(["fix.patch", "text/plain", bytes.length]);
      expect(Buffer.from((await store.blobs.get(made.digest))!)).toEqual(Buffer.from(bytes));
      expect((await readBug(store.db, undefined, id)).latest_patch_uploaded).toBeInstanceOf(Date);
    });

    it("refuses what breaks the model's rules", async () => {
      const id = await bug();
      await expect(bug("")).rejects.toThrow("title: Required input is missing.");
      await expect(bug("x".repeat(201))).rejects.toThrow("title: Value is too long");
      await expect(bug("nul\0")).rejects.toThrow("title: Control characters");
      await expect(bug("x", { informationType: "Secret" })).rejects.toThrow("information_type: Invalid value");
      await expect(change(smb, id, (c) => editBug(c, { tags: ["UPPER case"] }))).rejects.toThrow("tags: Invalid name");
      await expect(change(smb, id, (c) => linkCve(c, "1-2"))).rejects.toThrow("cve:");
      const [only] = await tasks(id);
      await expect(change(smb, id, (c) => removeTask(c, only!.id))).rejects.toThrow("Cannot delete only");
      await expect(changeBug(store, undefined, id, async () => {})).rejects.toThrow(ForbiddenError);
      for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 31, 1e20]) {
        await expect(readBug(store.db, smb, bad)).rejects.toThrow(MissingRecordError);
      }
    });

    it("knows a password only by its own person", async () => {
      await setPassword(store, apw.person, "correct horse");
      expect((await checkPassword(store, "apw", "correct horse"))?.id).toBe(apw.person.id);
      expect(await checkPassword(store, "apw", "wrong horse")).toBeUndefined();
      expect(await checkPassword(store, "smb", "")).toBeUndefined();
      expect(await checkPassword(store, "nobody", "correct horse")).toBeUndefined();
    });
  });
}
