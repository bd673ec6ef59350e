// A store in a temporary folder for one test. Making a database takes PGlite seconds, so that one is made and the
// others are copies of its folder.
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openStore, type Store, type StoreOptions } from "../store/open.ts";

function pgliteVersion(): string {
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const manifest: unknown = JSON.parse(readFileSync(join(dirname(entry), "..", "package.json"), "utf8"));
  return String((manifest as { version?: unknown }).version);
}

/** An empty database of this PGlite, without any table of ours. */
async function emptyDatabase(): Promise<string> {
  const made = join(tmpdir(), `palimpsest-pglite-${process.getuid?.() ?? 0}-${pgliteVersion()}`);
  if (existsSync(made)) return made;
  const { PGlite } = await import("@electric-sql/pglite");
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-pglite-"));
  const database = await PGlite.create(join(folder, "database"));
  await database.close();
  try {
    renameSync(join(folder, "database"), made); // fails when another test was quicker: then that one is as good
  } catch {}
  rmSync(folder, { recursive: true, force: true });
  return made;
}

/** A new folder that `openStore` takes, and that the caller takes away. */
export async function temporaryFolder(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-records-"));
  cpSync(await emptyDatabase(), join(folder, "database"), { recursive: true });
  return folder;
}

export async function temporaryStore(options: Omit<StoreOptions, "store"> = {}): Promise<Store> {
  const folder = await temporaryFolder();
  const store = await openStore({ ...options, store: folder });
  return {
    ...store,
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
