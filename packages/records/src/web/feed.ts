// An Atom feed of what changed last, of the records that everybody sees.
import { BUG_COLUMNS, seenBy } from "../model/access.ts";
import type { Store } from "../store/open.ts";
import { markup as xml } from "./markup.ts";

export async function feed(store: Store, site: string): Promise<string> {
  const bugs = await store.db
    .selectFrom("bug")
    .select(BUG_COLUMNS)
    .where(seenBy(undefined))
    .orderBy("bug.date_last_updated", "desc")
    .orderBy("bug.id", "desc")
    .limit(25)
    .execute();
  const updated = bugs[0]?.date_last_updated ?? new Date(0);
  return xml`<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Changed records</title><id>${site}/bugs.atom</id><link rel="self" href="${site}/bugs.atom"/>
<updated>${updated.toISOString()}</updated><author><name>Palimpsest records</name></author>
${bugs.map(
  (
    bug,
  ) => xml`<entry><title>Bug #${bug.id}: ${bug.title}</title><id>${site}/bugs/${bug.id}</id><link href="${site}/bugs/${bug.id}"/>
<updated>${bug.date_last_updated.toISOString()}</updated><summary>${bug.description.slice(0, 1000)}</summary></entry>
`,
)}</feed>
`.text;
}
