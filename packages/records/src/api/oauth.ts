// OAuth 1.0 with PLAINTEXT signatures, as Launchpad's client speaks it: a request token that a person grants in the
// browser, then an access token. Only digests are stored: who reads the database cannot act as anybody.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { ForbiddenError, InvalidError, MissingRecordError } from "../errors.ts";
import { type Actor, actorFor, personById } from "../model/people.ts";
import type { Store } from "../store/open.ts";
import type { Person, Token } from "../store/schema.ts";

export interface Credentials {
  readonly consumer: string;
  readonly token: string;
  readonly secret: string;
}

export function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
export function randomName(): string {
  return randomBytes(24).toString("base64url");
}

/** A token's words in the client: these make it drop the token and ask the person again. */
export class TokenError extends ForbiddenError {}

function parseHeader(header: string): ReadonlyMap<string, string> {
  const out = new Map<string, string>();
  for (const part of header.slice("OAuth".length).split(",")) {
    const match = /^\s*([a-z_]+)="([^"]*)"\s*$/.exec(part);
    if (match === null) continue;
    try {
      out.set(match[1]!, decodeURIComponent(match[2]!));
    } catch {
      throw new TokenError("Invalid token: malformed Authorization header.");
    }
  }
  return out;
}

/** @returns undefined for nobody: no header, or the empty token. @throws TokenError */
export async function actorOf(
  store: Store,
  header: string | undefined,
): Promise<{ actor: Actor; permission: string } | undefined> {
  if (header === undefined || !header.startsWith("OAuth")) return undefined;
  const fields = parseHeader(header);
  const name = fields.get("oauth_token") ?? "";
  if (name === "") return undefined;
  const method = fields.get("oauth_signature_method") ?? "PLAINTEXT";
  if (method !== "PLAINTEXT") throw new TokenError("Only PLAINTEXT signature method is supported.");
  const row = await store.db
    .selectFrom("token")
    .selectAll()
    .where("digest", "=", digest(name))
    .where("kind", "=", "access")
    .executeTakeFirst();
  if (row === undefined || row.person_id === null) throw new TokenError(`Unknown access token (${name.slice(0, 80)}).`);
  if (row.date_expires !== null && row.date_expires <= store.now()) {
    throw new TokenError(`Expired token (${name.slice(0, 80)}).`);
  }
  const secret = (fields.get("oauth_signature") ?? "").split("&")[1] ?? "";
  if (!same(digest(decodeOnce(secret)), row.secret_digest)) throw new TokenError("Invalid signature.");
  return {
    actor: await actorFor(store, await personById(store.db, row.person_id)),
    permission: row.permission ?? "READ_PUBLIC",
  };
}

function decodeOnce(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function same(left: string, right: string): boolean {
  return left.length === right.length && timingSafeEqual(Buffer.from(left), Buffer.from(right));
}

async function issue(
  store: Store,
  values: Pick<Token, "kind" | "consumer" | "person_id" | "permission" | "state" | "date_expires">,
): Promise<Credentials> {
  const made = { consumer: values.consumer, token: randomName(), secret: randomName() };
  await store.db
    .insertInto("token")
    .values({ ...values, digest: digest(made.token), secret_digest: digest(made.secret), date_created: store.now() })
    .execute();
  return made;
}

/** A token that works at once: what `palimpsest record login` writes. */
export async function issueAccess(store: Store, person: Person, consumer: string): Promise<Credentials> {
  return issue(store, {
    kind: "access",
    consumer,
    person_id: person.id,
    permission: "DESKTOP_INTEGRATION",
    state: "granted",
    date_expires: null,
  });
}

const REQUEST_LIFE = 2 * 60 * 60 * 1000;

export async function requestToken(store: Store, consumer: string): Promise<Credentials> {
  if (!/^[\x21-\x7e][\x20-\x7e]{0,200}$/.test(consumer))
    throw new InvalidError("oauth_consumer_key", "Invalid consumer.");
  const expires = new Date(store.now().getTime() + REQUEST_LIFE);
  return issue(store, {
    kind: "request",
    consumer,
    person_id: null,
    permission: null,
    state: "waiting",
    date_expires: expires,
  });
}

/** A request that waits for its person. @throws MissingRecordError */
export async function waitingRequest(store: Store, token: string): Promise<Token> {
  const row = await store.db
    .selectFrom("token")
    .selectAll()
    .where("digest", "=", digest(token))
    .where("kind", "=", "request")
    .executeTakeFirst();
  if (row === undefined || row.state !== "waiting" || (row.date_expires ?? store.now()) < store.now()) {
    throw new MissingRecordError("this request for access");
  }
  return row;
}

export const PERMISSIONS = [
  "DESKTOP_INTEGRATION",
  "READ_PUBLIC",
  "READ_PRIVATE",
  "WRITE_PUBLIC",
  "WRITE_PRIVATE",
] as const;

export async function review(store: Store, token: string, person: Person, permission: string | null): Promise<void> {
  const row = await waitingRequest(store, token);
  await store.db
    .updateTable("token")
    .set({ person_id: person.id, permission, state: permission === null ? "declined" : "granted" })
    .where("id", "=", row.id)
    .where("state", "=", "waiting")
    .execute();
}

/** Trades a granted request for an access token, once. @returns why not, in Launchpad's status codes */
export async function accessToken(
  store: Store,
  token: string,
  signature: string,
): Promise<Credentials | { status: 401 | 403; message: string }> {
  return store.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom("token")
      .selectAll()
      .where("digest", "=", digest(token))
      .where("kind", "=", "request")
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined || row.state === "used") return { status: 401, message: "No request token specified." };
    if (row.state === "declined") return { status: 403, message: "End-user refused to authorize request token." };
    if (row.state === "waiting")
      return { status: 401, message: "Request token has not yet been reviewed. Try again later." };
    const secret = decodeOnce(signature.split("&")[1] ?? "");
    if (!same(digest(secret), row.secret_digest)) return { status: 401, message: "Invalid OAuth signature." };
    await trx.updateTable("token").set({ state: "used" }).where("id", "=", row.id).execute();
    return issue(
      { ...store, db: trx },
      {
        kind: "access",
        consumer: row.consumer,
        person_id: row.person_id,
        permission: row.permission,
        state: "granted",
        date_expires: null,
      },
    );
  });
}

/** launchpadlib's credentials file. */
export function credentialsFile({ consumer, token, secret }: Credentials): string {
  return `[1]\nconsumer_key = ${consumer}\nconsumer_secret = \naccess_token = ${token}\naccess_secret = ${secret}\n\n`;
}
