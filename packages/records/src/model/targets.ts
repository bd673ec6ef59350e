// What a task is about: a project, a distribution, a source package of it, or a series of either. Named as Launchpad
// names them, "ubuntu/oneiric/+source/linux".
import { InvalidError, MissingRecordError } from "../errors.ts";
import type { Store } from "../store/open.ts";
import type { BugTask, Person, Pillar, Series } from "../store/schema.ts";
import { REGISTRY } from "../store/seed.ts";
import { type Actor, type Db, isOneOf, personNamed } from "./people.ts";
import { checkName } from "./words.ts";

export interface Target {
  readonly pillar: Pillar;
  readonly series: Series | undefined;
  readonly package: string | undefined;
}

/** "ubuntu", "ubuntu/oneiric", "ubuntu/+source/linux", "ubuntu/oneiric/+source/linux" */
export function targetPath({ pillar, series, package: name }: Target): string {
  return [pillar.name, ...(series ? [series.name] : []), ...(name ? ["+source", name] : [])].join("/");
}

/** "linux (Ubuntu Oneiric)", "Ubuntu", "bzr", "bzr 2.1": Launchpad's bug_target_display_name */
export function targetName({ pillar, series, package: name }: Target): string {
  const where = series ? `${pillar.display_name} ${series.display_name}` : pillar.display_name;
  return name ? `${name} (${where})` : where;
}

/** A display name from a name: "oneiric" → "Oneiric" */
function titled(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

export async function findPillar(db: Db, name: string): Promise<Pillar | undefined> {
  return db.selectFrom("pillar").selectAll().where("name", "=", name).executeTakeFirst();
}

export async function findSeries(db: Db, pillar: Pillar, name: string): Promise<Series | undefined> {
  return db
    .selectFrom("series")
    .selectAll()
    .where("pillar_id", "=", pillar.id)
    .where((eb) => eb.or([eb("name", "=", name), eb.and([eb("version", "=", name), eb("version", "!=", "")])]))
    .executeTakeFirst();
}

/**
 * Parses a target's path. Packages need not be known: any name is a package of a distribution.
 * @throws MissingRecordError for an unknown pillar or series
 */
export async function targetAt(db: Db, path: string): Promise<Target> {
  const parts = path.split("/").filter((part) => part !== "");
  const [pillarName = "", second, third, fourth, ...more] = parts;
  const pillar = await findPillar(db, pillarName);
  if (pillar === undefined || more.length > 0) throw new MissingRecordError(path || "the target");
  if (second === undefined) return { pillar, series: undefined, package: undefined };
  if (second === "+source") {
    if (third === undefined || fourth !== undefined) throw new MissingRecordError(path);
    return { pillar, series: undefined, package: packageName(pillar, third) };
  }
  const series = await findSeries(db, pillar, second);
  if (series === undefined) throw new MissingRecordError(path);
  if (third === undefined) return { pillar, series, package: undefined };
  if (third !== "+source" || fourth === undefined) throw new MissingRecordError(path);
  return { pillar, series, package: packageName(pillar, fourth) };
}

function packageName(pillar: Pillar, name: string): string {
  if (pillar.kind !== "distribution") throw new InvalidError("target", `${pillar.name} has no source packages.`);
  return checkName("target", decodeURIComponent(name));
}

/** The same, but what is not there is made: projects, series. For the command line, importers and the Janitor. */
export async function ensureTarget(store: Store, path: string): Promise<Target> {
  const [pillarName = "", second] = path.split("/").filter((part) => part !== "");
  let pillar = await findPillar(store.db, pillarName);
  pillar ??= await ensurePillar(store, "project", pillarName);
  if (second !== undefined && second !== "+source") await ensureSeries(store, pillar, second);
  return targetAt(store.db, path);
}

export async function ensurePillar(
  store: Store,
  kind: Pillar["kind"],
  name: string,
  more: { displayName?: string; owner?: Person; summary?: string } = {},
): Promise<Pillar> {
  const owner = more.owner ?? (await personNamed(store.db, REGISTRY));
  await store.db
    .insertInto("pillar")
    .values({
      kind,
      name: checkName("name", name),
      display_name: more.displayName ?? (kind === "project" ? name : titled(name)),
      summary: more.summary ?? "",
      owner_id: owner.id,
      date_created: store.now(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return store.db.selectFrom("pillar").selectAll().where("name", "=", name).executeTakeFirstOrThrow();
}

/** A series of that name; a first one of a pillar becomes no current series by itself. */
export async function ensureSeries(
  store: Store,
  pillar: Pillar,
  name: string,
  more: { version?: string; status?: string; current?: boolean } = {},
): Promise<Series> {
  await store.db
    .insertInto("series")
    .values({
      pillar_id: pillar.id,
      name: checkName("series", name),
      display_name: pillar.kind === "distribution" ? titled(name) : name,
      version: more.version ?? "",
      status: more.status ?? "Active Development",
      date_created: store.now(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const series = await store.db
    .selectFrom("series")
    .selectAll()
    .where("pillar_id", "=", pillar.id)
    .where("name", "=", name)
    .executeTakeFirstOrThrow();
  if (more.current) {
    await store.db.updateTable("pillar").set({ current_series_id: series.id }).where("id", "=", pillar.id).execute();
  }
  return series;
}

/** Reads the targets of tasks with two queries, however many there are. */
export async function targetsOf(db: Db, tasks: readonly BugTask[]): Promise<Map<number, Target>> {
  if (tasks.length === 0) return new Map();
  const pillarIds = [...new Set(tasks.map((task) => task.pillar_id))];
  const seriesIds = [...new Set(tasks.flatMap((task) => task.series_id ?? []))];
  const pillars = await db.selectFrom("pillar").selectAll().where("id", "in", pillarIds).execute();
  const series =
    seriesIds.length === 0 ? [] : await db.selectFrom("series").selectAll().where("id", "in", seriesIds).execute();
  return new Map(
    tasks.map((task) => [
      task.id,
      {
        pillar: pillars.find((each) => each.id === task.pillar_id)!,
        series: series.find((each) => each.id === task.series_id),
        package: task.package ?? undefined,
      },
    ]),
  );
}

/** The bug supervisor of a target: the package's own, else the pillar's. */
async function supervisorOf(db: Db, target: Target): Promise<number | null> {
  if (target.package !== undefined) {
    const row = await db
      .selectFrom("package")
      .select("supervisor_id")
      .where("pillar_id", "=", target.pillar.id)
      .where("name", "=", target.package)
      .executeTakeFirst();
    if (row?.supervisor_id != null) return row.supervisor_id;
  }
  return target.pillar.supervisor_id;
}

export interface Roles {
  readonly isSupervisor: boolean;
  readonly isDriver: boolean;
  /** false: nobody supervises this target, so anybody may assign anybody */
  readonly hasSupervisor: boolean;
}

/** Supervisor, driver and owner of a target, as Launchpad counts them: each higher role has the lower one's rights. */
export async function rolesFor(db: Db, actor: Actor | undefined, target: Target): Promise<Roles> {
  const supervisor = await supervisorOf(db, target);
  const { pillar, series } = target;
  const isDriver = isOneOf(actor, series?.driver_id, pillar.driver_id, pillar.owner_id);
  return {
    isDriver,
    isSupervisor: isDriver || isOneOf(actor, supervisor),
    hasSupervisor: supervisor !== null,
  };
}

export async function setSupervisor(store: Store, target: Target, person: Person | null): Promise<void> {
  const supervisor_id = person?.id ?? null;
  if (target.package === undefined) {
    await store.db.updateTable("pillar").set({ supervisor_id }).where("id", "=", target.pillar.id).execute();
    return;
  }
  await store.db
    .insertInto("package")
    .values({ pillar_id: target.pillar.id, name: target.package, supervisor_id })
    .onConflict((conflict) => conflict.columns(["pillar_id", "name"]).doUpdateSet({ supervisor_id }))
    .execute();
}
