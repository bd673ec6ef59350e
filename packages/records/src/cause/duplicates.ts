// Records of the same cause, or of one like it.
import { sql } from "kysely";
import { BUG_COLUMNS, seenBy } from "../model/access.ts";
import type { Actor, Db } from "../model/people.ts";
import { isFacts, textsOf } from "./diagnosis.ts";
import { compare, type Likeness, type Signature } from "./signature.ts";

export interface Proposal extends Likeness {
  readonly bug: number;
  readonly title: string;
}

const MOST = 5;
const LEAST_SCORE = 0.3;

/** The best candidates that the viewer may see, the likest first. */
export async function findDuplicates(
  db: Db,
  actor: Actor | undefined,
  signature: Signature,
  except?: number,
): Promise<Proposal[]> {
  // Same signature, or the same kind of cause: the only ones that can share a part.
  const kind = signature.id.replace(/-[0-9a-f]{12}$/, "");
  const rows = await db
    .selectFrom("bug")
    .select(BUG_COLUMNS)
    .where(seenBy(actor))
    .where(sql<boolean>`bug.signature is not null and bug.duplicate_of is null`)
    .where(sql<boolean>`(bug.signature = ${signature.id} or bug.signature like ${`${kind}-%`})`)
    .orderBy(sql`bug.signature = ${signature.id}`, "desc")
    .orderBy("bug.id", "asc")
    .limit(500)
    .execute();
  return rows
    .filter((row) => row.id !== except)
    .map((row) => {
      const parts = isFacts(row.cause) ? textsOf(row.cause.parts) : [];
      return { bug: row.id, title: row.title, ...compare(signature, { id: row.signature!, parts }) };
    })
    .filter((proposal) => proposal.score >= LEAST_SCORE)
    .sort((a, b) => b.score - a.score || a.bug - b.bug)
    .slice(0, MOST);
}
