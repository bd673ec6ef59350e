// Opens a store by its name: a folder (PGlite inside it, or the process that has it open) or postgres://….
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { Kysely, PostgresDialect } from "kysely";
import { StoreError } from "../errors.ts";
import { type Blobs, FolderBlobs } from "./blobs.ts";
import { takeLock } from "./folder-lock.ts";
import { migrate } from "./migrations.ts";
import { PGliteSource, sourceDialect } from "./pglite-driver.ts";
import type { Schema } from "./schema.ts";
import { seed } from "./seed.ts";
import { SharedSource, share } from "./share.ts";

export interface Store {
  readonly db: Kysely<Schema>;
  readonly blobs: Blobs;
  /** The time of changes; tests set it. */
  now(): Date;
  close(): Promise<void>;
}

export interface StoreOptions {
  /** "DIR" or "postgres://…" */
  readonly store: string;
  /** where attachments lie; beside the database's folder without it */
  readonly blobs?: string;
  readonly now?: () => Date;
  /** most connections to PostgreSQL at a time */
  readonly connections?: number;
}

/** @throws StoreError when the store cannot be used */
export async function openStore(options: StoreOptions): Promise<Store> {
  const isServer = /^postgres(ql)?:\/\//.test(options.store);
  const now = options.now ?? (() => new Date());
  const { db, close } = isServer ? await openServer(options) : await openFolder(resolve(options.store));
  const folder = options.blobs ?? (isServer ? serverBlobs(options.store) : join(resolve(options.store), "attachments"));
  try {
    await migrate(db);
    await seed(db, now());
  } catch (error) {
    await close();
    throw error instanceof StoreError ? error : new StoreError((error as Error).message);
  }
  return { db, blobs: new FolderBlobs(folder), now, close };
}

/** Attachments of a server's database: under the user's data folder, one folder a database. */
function serverBlobs(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  const name = createHash("sha256")
    .update(`${hostname}:${port || "5432"}${pathname}`)
    .digest("hex")
    .slice(0, 16);
  const home = process.env.XDG_DATA_HOME ?? join(process.env.HOME ?? tmpdir(), ".local", "share");
  return join(home, "palimpsest", "attachments", name);
}

async function openServer({ store, connections }: StoreOptions) {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({ connectionString: store, max: connections ?? 10, connectionTimeoutMillis: 10_000 });
  pool.on("error", () => {}); // an idle connection that broke is replaced by the next use
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  try {
    await pool.query("select 1");
  } catch (error) {
    await db.destroy();
    const { hostname, pathname } = new URL(store);
    throw new StoreError(
      `PostgreSQL at ${hostname || "the local socket"}${pathname}: ${(error as Error).message}`,
      "Is the server running, and does the database exist (createdb)?",
    );
  }
  return { db, close: () => db.destroy() };
}

async function openFolder(folder: string) {
  const isNew = !existsSync(folder) || readdirSync(folder).length === 0;
  if (!isNew && !existsSync(join(folder, "lock")) && !existsSync(join(folder, "database"))) {
    throw new StoreError(`${folder}: is a folder of something else`, "Name a new or empty folder with --store.");
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const socket = socketPath(folder);
  for (let attempt = 0; ; attempt++) {
    const taken = takeLock(folder, socket);
    if ("release" in taken) return ownFolder(folder, socket, taken.release);
    const source = new SharedSource(taken.owner.socket);
    try {
      (await source.acquire()).release();
      const db = new Kysely<Schema>({ dialect: sourceDialect(source) });
      return { db, close: () => db.destroy() };
    } catch {
      // The owner is just starting or just ending: the lock or the socket comes in a moment.
      if (attempt >= 300) {
        throw new StoreError(`${folder}: process ${taken.owner.pid} has the store open and does not answer`);
      }
      await wait(100);
    }
  }
}

/** Unix sockets have short names: a folder deep down gets one in the temporary folder. */
function socketPath(folder: string): string {
  const path = join(folder, "socket");
  if (Buffer.byteLength(path) < 100) return path;
  const own = join(tmpdir(), `palimpsest-${process.getuid?.() ?? 0}`);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  return join(own, createHash("sha256").update(folder).digest("hex").slice(0, 16));
}

async function ownFolder(folder: string, socket: string, release: () => void) {
  try {
    const { PGlite } = await import("@electric-sql/pglite");
    const source = new PGliteSource(await PGlite.create(join(folder, "database")));
    const server = await share(source, socket);
    const db = new Kysely<Schema>({ dialect: sourceDialect(source) });
    const close = async (): Promise<void> => {
      // Others finish what they began; the next owner can take the folder when the database is closed.
      await new Promise<void>((done) => server.close(() => done()));
      await db.destroy();
      release();
    };
    return { db, close };
  } catch (error) {
    release();
    throw new StoreError(`${folder}: the database does not open: ${(error as Error).message}`);
  }
}
