// One lab process at a time works on one thing (apt's lists of a suite, one kernel, one dump): two that want the
// same dump then boot one guest, not two.
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError } from "./errors.ts";

const WAIT_SECONDS = 1800;

/**
 * Runs `work` while holding the lock file `path`, waiting for another process's turn to end. A lock whose process
 * is gone is taken over.
 * @throws LabError when the other process holds it for longer than half an hour
 */
export async function withLock<T>(path: string, work: () => Promise<T>, waitSeconds = WAIT_SECONDS): Promise<T> {
  mkdirSync(dirname(path), { recursive: true });
  const mine = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  const until = Date.now() + waitSeconds * 1000;
  for (;;) {
    writeFileSync(mine, String(process.pid));
    try {
      linkSync(mine, path); // fails if `path` is there: the one atomic test-and-set that every file system has
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const holder = lockHolder(path);
      if (holder === undefined) rmSync(path, { force: true });
      else if (Date.now() > until) throw new LabError(`${path}: still held by process ${holder}`);
      else await sleep(300);
    } finally {
      rmSync(mine, { force: true });
    }
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** The process that holds the lock; undefined when that process is gone or the file holds no process id. */
function lockHolder(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, "utf8"));
    if (!Number.isInteger(pid) || pid <= 0) return undefined;
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? -1 : undefined;
  }
}
