// Who is at the browser. The cookie is a random name whose digest is stored; the form token is made from the same name,
// so that another site, which cannot read the cookie, cannot make it.
import { createHmac, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { digest, randomName } from "../api/oauth.ts";
import { ForbiddenError } from "../errors.ts";
import { type Actor, actorFor, personById } from "../model/people.ts";
import type { Store } from "../store/open.ts";
import type { Person } from "../store/schema.ts";

const COOKIE = "palimpsest_session";
const LIFE_SECONDS = 14 * 24 * 3600;

export interface Visit {
  readonly actor: Actor | undefined;
  /** what forms carry; "" without a session */
  readonly formToken: string;
}

function cookieOf(request: FastifyRequest): string | undefined {
  for (const part of (request.headers.cookie ?? "").split(";")) {
    const [name, value] = part.trim().split("=");
    if (name === COOKIE && value !== undefined && /^[\w-]{32}$/.test(value)) return value;
  }
  return undefined;
}

function formTokenFor(cookie: string): string {
  return createHmac("sha256", cookie).update("form").digest("base64url");
}

export async function visitOf(store: Store, request: FastifyRequest): Promise<Visit> {
  const cookie = cookieOf(request);
  if (cookie === undefined) return { actor: undefined, formToken: "" };
  const row = await store.db.selectFrom("session").selectAll().where("digest", "=", digest(cookie)).executeTakeFirst();
  if (row === undefined || row.date_expires <= store.now()) return { actor: undefined, formToken: "" };
  const actor = await actorFor(store, await personById(store.db, row.person_id));
  return { actor, formToken: formTokenFor(cookie) };
}

export async function startSession(store: Store, person: Person, reply: FastifyReply, secure: boolean): Promise<void> {
  const cookie = randomName();
  const now = store.now();
  await store.db.deleteFrom("session").where("date_expires", "<=", now).execute();
  await store.db
    .insertInto("session")
    .values({
      digest: digest(cookie),
      person_id: person.id,
      date_created: now,
      date_expires: new Date(now.getTime() + LIFE_SECONDS * 1000),
    })
    .execute();
  const flags = `Path=/; HttpOnly; SameSite=Lax; Max-Age=${LIFE_SECONDS}${secure ? "; Secure" : ""}`;
  reply.header("set-cookie", `${COOKIE}=${cookie}; ${flags}`);
}

export async function endSession(store: Store, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const cookie = cookieOf(request);
  if (cookie !== undefined) await store.db.deleteFrom("session").where("digest", "=", digest(cookie)).execute();
  reply.header("set-cookie", `${COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`);
}

/** A form that another site sent, or that carries no token of this session, changes nothing. @throws ForbiddenError */
export function checkForm(request: FastifyRequest, visit: Visit, site: string, token: string | undefined): void {
  checkOrigin(request, site);
  const given = Buffer.from(token ?? "");
  const wanted = Buffer.from(visit.formToken);
  if (visit.actor === undefined || given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
    throw new ForbiddenError("This form is not of your session: load the page again.");
  }
}

export function checkOrigin(request: FastifyRequest, site: string): void {
  const { origin } = request.headers;
  if (origin !== undefined && origin !== site) throw new ForbiddenError("This form was sent by another site.");
}
