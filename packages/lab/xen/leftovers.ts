// What a session must not leave behind, looked for after each: processes, mounts, loop devices, temporary folders.
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Lines for everything that still uses `folder`: empty when nothing does. */
export function leftovers(folder: string): string[] {
  return [...processes(folder), ...mounts(folder), ...loopDevices(folder), ...files(folder)];
}

function processes(folder: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes(folder) || cwd(pid).startsWith(folder))
    .map((pid) => `process ${pid} (${read(`/proc/${pid}/comm`).trim()})`);
}

function mounts(folder: string): string[] {
  return read("/proc/self/mounts")
    .split("\n")
    .filter((line) => line.includes(folder))
    .map((line) => `mount ${line.split(" ")[1]}`);
}

function loopDevices(folder: string): string[] {
  if (!existsSync("/sys/block")) return [];
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .filter((name) => read(`/sys/block/${name}/loop/backing_file`).includes(folder))
    .map((name) => `loop device /dev/${name}`);
}

function files(folder: string): string[] {
  return existsSync(folder) ? [`folder ${folder}`] : [];
}

/** A process or device that goes away meanwhile has nothing to tell. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function cwd(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}
