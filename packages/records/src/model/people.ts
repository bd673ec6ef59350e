// People and teams, and what a person may see and do.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Kysely } from "kysely";
import { InvalidError, MissingRecordError } from "../errors.ts";
import type { Store } from "../store/open.ts";
import type { Person, Schema } from "../store/schema.ts";
import { JANITOR } from "../store/seed.ts";
import { checkName, checkText } from "./words.ts";

/** Who asks: a person with the teams that the person is in, through teams too. Nobody is `undefined`. */
export interface Actor {
  readonly person: Person;
  /** the person's own id and those of the teams */
  readonly identities: readonly number[];
  /** the Janitor and administrators may do everything */
  readonly isAll: boolean;
}

export type Db = Kysely<Schema>;

export async function personById(db: Db, id: number): Promise<Person> {
  return db.selectFrom("person").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
}

export async function findPerson(db: Db, name: string): Promise<Person | undefined> {
  return db.selectFrom("person").selectAll().where("name", "=", name).executeTakeFirst();
}

/** @throws MissingRecordError */
export async function personNamed(db: Db, name: string): Promise<Person> {
  const person = await findPerson(db, name);
  if (person === undefined) throw new MissingRecordError(`~${name}`);
  return person;
}

export interface NewPerson {
  readonly name: string;
  readonly displayName?: string;
  readonly email?: string;
  readonly isTeam?: boolean;
  readonly ownerId?: number;
}

/** The person of that name, made when there is none. @throws InvalidError for a bad name */
export async function ensurePerson(store: Store, wanted: NewPerson): Promise<Person> {
  const name = checkName("name", wanted.name);
  const there = await findPerson(store.db, name);
  if (there !== undefined) return there;
  await store.db
    .insertInto("person")
    .values({
      name,
      display_name: checkText("display_name", wanted.displayName ?? name, 200),
      email: wanted.email ?? null,
      is_team: wanted.isTeam ?? false,
      owner_id: wanted.ownerId ?? null,
      date_created: store.now(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const made = await findPerson(store.db, name);
  if (made === undefined) throw new InvalidError("email", `${wanted.email} is another person's address.`);
  return made;
}

/** All teams of a person: a team's members may be teams. */
async function teamsOf(db: Db, id: number): Promise<number[]> {
  const teams = new Set<number>();
  let fresh = [id];
  while (fresh.length > 0) {
    const rows = await db.selectFrom("team_member").select("team_id").where("person_id", "in", fresh).execute();
    fresh = rows.map((row) => row.team_id).filter((team) => !teams.has(team));
    for (const team of fresh) teams.add(team);
  }
  return [...teams];
}

export async function actorFor(store: Store, person: Person): Promise<Actor> {
  return { person, identities: [person.id, ...(await teamsOf(store.db, person.id))], isAll: person.is_admin };
}

export async function janitor(store: Store): Promise<Actor> {
  return actorFor(store, await personNamed(store.db, JANITOR));
}

export function isOneOf(actor: Actor | undefined, ...roles: readonly (number | null | undefined)[]): boolean {
  if (actor === undefined) return false;
  return actor.isAll || roles.some((role) => typeof role === "number" && actor.identities.includes(role));
}

/** Adds a member, unless that would make a team a member of itself. */
export async function addMember(store: Store, team: Person, member: Person): Promise<void> {
  if (!team.is_team) throw new InvalidError("team", `${team.name} is not a team.`);
  if (team.id === member.id || (await teamsOf(store.db, team.id)).includes(member.id)) {
    throw new InvalidError("person", `${team.name} is in ${member.name}: a team cannot be a member of itself.`);
  }
  await store.db
    .insertInto("team_member")
    .values({ team_id: team.id, person_id: member.id })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

const scryptBytes = promisify<string, Buffer, number, Buffer>(scrypt);

export async function setPassword(store: Store, person: Person, password: string): Promise<void> {
  if (password.length < 8) throw new InvalidError("password", "At least 8 characters are needed.");
  const salt = randomBytes(16);
  const hash = await scryptBytes(password, salt, 32);
  const text = `scrypt:${salt.toString("hex")}:${hash.toString("hex")}`;
  await store.db.updateTable("person").set({ password: text }).where("id", "=", person.id).execute();
}

/** @returns the person when name and password fit; takes as long when there is no such person */
export async function checkPassword(store: Store, name: string, password: string): Promise<Person | undefined> {
  const person = await findPerson(store.db, name);
  const [, salt, hash] = (person?.password ?? `scrypt:${"0".repeat(32)}:${"0".repeat(64)}`).split(":");
  const given = await scryptBytes(password.slice(0, 1000), Buffer.from(salt!, "hex"), 32);
  const fits = timingSafeEqual(given, Buffer.from(hash!, "hex"));
  return fits && person?.password != null ? person : undefined;
}
