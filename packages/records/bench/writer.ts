// A process to be killed: writes comments and statuses to one record without end, and says each change on stdout when the
// store has acknowledged it. The tests kill it and compare what was said with what is there.
import { changeBug } from "../src/model/change.ts";
import { addMessage } from "../src/model/messages.ts";
import { actorFor, ensurePerson } from "../src/model/people.ts";
import { editTask, tasksOf } from "../src/model/tasks.ts";
import { openStore } from "../src/store/open.ts";

const [name = "", bug = "", start = "0"] = process.argv.slice(2);
const store = await openStore({ store: name, blobs: "/nonexistent" });
const actor = { ...(await actorFor(store, await ensurePerson(store, { name: "writer" }))), isAll: true };
const STATUSES = ["New", "Confirmed", "In Progress", "Fix Committed"];
process.stdout.write("ready\n");
for (let count = Number(start); ; count++) {
  const status = STATUSES[count % STATUSES.length]!;
  await changeBug(store, actor, Number(bug), async (change) => {
    const [task] = await tasksOf(change.db, change.bug.id);
    await editTask(change, task!.id, { status });
    await addMessage(change, { content: `count ${count} ${status}` });
  });
  process.stdout.write(`${count}\n`);
}
