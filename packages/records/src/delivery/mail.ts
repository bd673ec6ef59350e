// A notification mail: what changed, and how not to get any more.
import { createTransport } from "nodemailer";
import { isFacts, listOf, textOf } from "../cause/diagnosis.ts";
import { readBug } from "../model/access.ts";
import { actorFor, personById } from "../model/people.ts";
import type { DeliveryOptions, Due } from "./due.ts";

export async function sendMail(options: DeliveryOptions, id: number, due: Due): Promise<void> {
  const { store, smtp, mailFrom = "records@localhost", site } = options;
  if (smtp === undefined) throw new Error("no --smtp was given");
  const person = await personById(store.db, due.person_id!);
  const bug = await readBug(store.db, await actorFor(store, person), due.bug_id).catch(() => undefined);
  // Whoever was unsubscribed from a private record between the change and the mail gets none.
  if (bug === undefined || person.email === null) return;
  const by = await personById(store.db, due.by);
  const changes = Array.isArray(due.changes) ? listOf(due.changes) : isFacts(due.changes) ? [due.changes] : [];
  const comments = changes.filter((each) => each.what === "comment").map((each) => Number(textOf(each.new)));
  const messages = await store.db
    .selectFrom("message")
    .select(["content", "visible"])
    .where("bug_id", "=", bug.id)
    .where("index", "in", due.event_kind === "bug:created" ? [0] : comments.length > 0 ? comments : [-1])
    .execute();
  const lines = changes
    .filter((each) => each.what !== "comment" && each.what !== "bug")
    .map((each) => `** ${textOf(each.what)}: ${textOf(each.old) || "(none)"} => ${textOf(each.new) || "(none)"}`);
  const url = `${site}/bugs/${bug.id}`;
  const text = [
    ...(due.event_kind === "bug:created" ? ["Public bug reported:".replace("Public", bug.information_type), ""] : []),
    ...messages.filter((each) => each.visible).map((each) => each.content),
    ...lines,
    "",
    "-- ",
    "You received this mail because you are subscribed to the bug report.",
    url,
    `To unsubscribe: palimpsest record unsubscribe ${bug.id}, or the API's unsubscribe.`,
  ].join("\n");
  const transport = createTransport(smtp);
  try {
    await transport.sendMail({
      from: { name: by.display_name, address: mailFrom },
      to: { name: person.display_name, address: person.email },
      subject: `[Bug ${bug.id}] ${bug.title}`,
      text,
      // The same id at each try: a receiver sees a repeated mail as one.
      messageId: `<delivery-${id}@palimpsest.invalid>`,
      headers: {
        "X-Launchpad-Bug": String(bug.id),
        "List-Unsubscribe": `<${url}>`,
        "Auto-Submitted": "auto-generated",
      },
    });
  } finally {
    transport.close();
  }
}
