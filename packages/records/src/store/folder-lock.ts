// A PGlite folder belongs to one process at a time: two would tear it. The lock file names the owner and when it
// started, so that a lock left by a killed process is seen as left, even if its number is in use again.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface LockOwner {
  readonly pid: number;
  /** clock ticks from boot to the process's start, as /proc/PID/stat tells; "" where there is no /proc */
  readonly started: string;
  /** where the owner answers for others */
  readonly socket: string;
}

function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Field 22; the second field is a name in brackets that may hold blanks.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

function isAlive(owner: LockOwner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return owner.started === "" || startOf(owner.pid) === owner.started;
}

function read(path: string): LockOwner | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, started, socket } = value as Partial<LockOwner>;
    if (typeof pid !== "number" || typeof started !== "string" || typeof socket !== "string") return undefined;
    return { pid, started, socket };
  } catch {
    return undefined;
  }
}

/** Takes the folder's lock, or tells who has it. A lock of a process that is gone is taken over. */
export function takeLock(folder: string, socket: string): { owner: LockOwner } | { release: () => void } {
  const path = join(folder, "lock");
  const mine = `${path}.${process.pid}.${process.hrtime.bigint()}`;
  writeFileSync(mine, JSON.stringify({ pid: process.pid, started: startOf(process.pid), socket }));
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        linkSync(mine, path); // fails when it is there: only one of many gets it
        return { release: () => rmSync(path, { force: true }) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt > 20) throw error;
      }
      const owner = read(path);
      if (owner !== undefined && isAlive(owner)) return { owner };
      setAside(path, `${mine}.left`);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Removes a lock that was left, but not one that another process has put in its place meanwhile. */
function setAside(path: string, aside: string): void {
  try {
    renameSync(path, aside);
    const owner = read(aside);
    if (owner !== undefined && isAlive(owner)) linkSync(aside, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "EEXIST") throw error; // somebody else was quicker
  } finally {
    rmSync(aside, { force: true });
  }
}
