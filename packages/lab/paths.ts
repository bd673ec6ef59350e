// Where the lab keeps what it made: one folder under the user's cache, so that a dump is made once and any number
// of checkouts and tests share it.
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";

/** The cache's root: $XDG_CACHE_HOME/palimpsest/lab, or the same under ~/.cache. */
export function cacheRoot(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const base = env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(homedir(), ".cache");
  return join(base, "palimpsest", "lab");
}

/** A folder of the cache, made if it is not there: "kernels", "dumps", "apt", "matrix". */
export function cacheFolder(...parts: string[]): string {
  const folder = join(cacheRoot(), ...parts);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The first eight hex digits of the SHA-256 of `text`: enough to tell option sets apart in a folder's name. */
export function shortDigest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

/**
 * Fills a folder all or nothing: `fill` works in a temporary folder beside `target`, which then takes its place.
 * On any error the temporary folder is removed and `target` stays as it was. The caller holds a lock on `target`, so
 * a temporary folder that is there already was left by a process that was killed, and goes.
 */
export async function fillFolder(target: string, fill: (folder: string) => Promise<void>): Promise<void> {
  mkdirSync(dirname(target), { recursive: true });
  for (const name of readdirSync(dirname(target))) {
    if (name.startsWith(`${basename(target)}.tmp-`))
      rmSync(join(dirname(target), name), { recursive: true, force: true });
  }
  const temporary = mkdtempSync(`${target}.tmp-`);
  try {
    await fill(temporary);
    chmodSync(temporary, 0o755);
    rmSync(target, { recursive: true, force: true });
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}
