// Which versions of a package have a record's fault: Debian's version graph. Versions form a tree, each with the one that
// its changelog names below it; from a version one walks to the root, and the first version that is marked found or fixed
// decides (found wins over fixed of the same version).
import type { Store } from "../store/open.ts";
import type { Pillar } from "../store/schema.ts";
import type { Change } from "./change.ts";
import type { Db } from "./people.ts";

export type VersionState = "found" | "fixed" | "absent" | "unknown";

/** Ancestry as a changelog tells it. @param versions newest first */
export async function recordVersions(
  store: Store,
  pillar: Pillar,
  name: string,
  versions: readonly string[],
): Promise<void> {
  const rows = versions.map((version, at) => ({
    pillar_id: pillar.id,
    package: name,
    version,
    parent: versions[at + 1] ?? null,
  }));
  for (let at = 0; at < rows.length; at += 500) {
    await store.db
      .insertInto("package_version")
      .values(rows.slice(at, at + 500))
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

export async function markVersion(
  change: Change,
  pillar: Pillar,
  name: string,
  version: string,
  state: "found" | "fixed",
): Promise<void> {
  await change.db
    .insertInto("bug_version")
    .values({ bug_id: change.bug.id, pillar_id: pillar.id, package: name, version, state })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  change.log(`${state} in version`, null, `${name} ${version}`);
}

export interface VersionGraph {
  readonly parents: ReadonlyMap<string, string | null>;
  readonly found: ReadonlySet<string>;
  readonly fixed: ReadonlySet<string>;
}

export async function versionGraph(db: Db, bugId: number, pillarId: number, name: string): Promise<VersionGraph> {
  const [tree, marks] = await Promise.all([
    db
      .selectFrom("package_version")
      .select(["version", "parent"])
      .where("pillar_id", "=", pillarId)
      .where("package", "=", name)
      .execute(),
    db
      .selectFrom("bug_version")
      .select(["version", "state"])
      .where("bug_id", "=", bugId)
      .where("pillar_id", "=", pillarId)
      .where("package", "=", name)
      .execute(),
  ]);
  const marked = (state: string) => new Set(marks.filter((mark) => mark.state === state).map((mark) => mark.version));
  return {
    parents: new Map(tree.map((row) => [row.version, row.parent])),
    found: marked("found"),
    fixed: marked("fixed"),
  };
}

/** A version without any mark on its way is "absent" when the record is known of another branch, else "unknown". */
export function stateOf({ parents, found, fixed }: VersionGraph, version: string): VersionState {
  if (!parents.has(version) && !found.has(version) && !fixed.has(version)) return "unknown";
  const seen = new Set<string>();
  for (let at: string | null | undefined = version; at != null && !seen.has(at); at = parents.get(at)) {
    seen.add(at);
    if (found.has(at)) return "found";
    if (fixed.has(at)) return "fixed";
  }
  return found.size + fixed.size > 0 ? "absent" : "unknown";
}

export async function versionStates(
  db: Db,
  bugId: number,
  pillarId: number,
  name: string,
): Promise<{ version: string; state: VersionState }[]> {
  const graph = await versionGraph(db, bugId, pillarId, name);
  return [...graph.parents.keys()].map((version) => ({ version, state: stateOf(graph, version) }));
}
