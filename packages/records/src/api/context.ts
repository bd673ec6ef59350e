// One request of the web service: who asks, by which address, and what was read for it already.

import { BUG_COLUMNS, seenBy } from "../model/access.ts";
import type { Actor, Db } from "../model/people.ts";
import type { Target } from "../model/targets.ts";
import type { Store } from "../store/open.ts";
import type { Bug, Person, Pillar, Series } from "../store/schema.ts";

export class Context {
  private readonly people = new Map<number, Person>();
  private readonly pillars = new Map<number, Pillar>();
  private readonly series = new Map<number, Series>();
  private readonly bugs = new Map<number, Bug>();

  constructor(
    readonly store: Store,
    readonly actor: Actor | undefined,
    /** "http://127.0.0.1:8080/1.0": links are made for the address that the client used */
    readonly api: string,
    /** "http://127.0.0.1:8080" */
    readonly site: string,
    readonly version: string,
    /** inside a change, its transaction */
    readonly db: Db = store.db,
  ) {}

  within(db: Db): Context {
    return new Context(this.store, this.actor, this.api, this.site, this.version, db);
  }

  /** A link below the API's root; null stays null. */
  link(path: string | null | undefined): string | null {
    return path === null || path === undefined ? null : `${this.api}/${path.split("/").map(encodePart).join("/")}`;
  }
  web(path: string): string {
    return `${this.site}/${path.split("/").map(encodePart).join("/")}`;
  }

  async person(id: number): Promise<Person> {
    const known =
      this.people.get(id) ??
      (await this.db.selectFrom("person").selectAll().where("id", "=", id).executeTakeFirstOrThrow());
    this.people.set(id, known);
    return known;
  }
  async personLink(id: number | null | undefined): Promise<string | null> {
    return typeof id === "number" ? this.link(`~${(await this.person(id)).name}`) : null;
  }

  async pillar(id: number): Promise<Pillar> {
    const known =
      this.pillars.get(id) ??
      (await this.db.selectFrom("pillar").selectAll().where("id", "=", id).executeTakeFirstOrThrow());
    this.pillars.set(id, known);
    return known;
  }

  async seriesById(id: number): Promise<Series> {
    const known =
      this.series.get(id) ??
      (await this.db.selectFrom("series").selectAll().where("id", "=", id).executeTakeFirstOrThrow());
    this.series.set(id, known);
    return known;
  }

  async target(of: { pillar_id: number; series_id: number | null; package: string | null }): Promise<Target> {
    return {
      pillar: await this.pillar(of.pillar_id),
      series: of.series_id === null ? undefined : await this.seriesById(of.series_id),
      package: of.package ?? undefined,
    };
  }

  /** A bug that is known to be seen: by a task or duplicate that was found through what the viewer may see. */
  async bug(id: number): Promise<Bug | undefined> {
    if (!this.bugs.has(id)) await this.readBugs([id]);
    return this.bugs.get(id);
  }
  async readBugs(ids: readonly number[]): Promise<void> {
    const wanted = [...new Set(ids)].filter((id) => !this.bugs.has(id));
    if (wanted.length === 0) return;
    const rows = await this.db
      .selectFrom("bug")
      .select(BUG_COLUMNS)
      .where("bug.id", "in", wanted)
      .where(seenBy(this.actor))
      .execute();
    for (const row of rows) this.bugs.set(row.id, row);
  }
  async readPeople(ids: readonly (number | null)[]): Promise<void> {
    const wanted = [...new Set(ids)].filter((id): id is number => id !== null && !this.people.has(id));
    if (wanted.length === 0) return;
    for (const row of await this.db.selectFrom("person").selectAll().where("id", "in", wanted).execute()) {
      this.people.set(row.id, row);
    }
  }
}

/** The client's OAuth library falls over links with characters that have to be encoded. */
function encodePart(part: string): string {
  return encodeURIComponent(part).replace(/%2B/g, "+").replace(/%7E/g, "~").replace(/%3A/g, ":").replace(/%24/g, "$");
}

/** Launchpad's form: six digits of a second, or none, and a numeric zone. */
export function dateText(date: Date | null | undefined): string | null {
  return date == null ? null : date.toISOString().replace(/\.(\d{3})Z$/, ".$1000+00:00");
}
