// The session's disk: an ext4 image that holds the guests going in and what came of them. Written and read with
// e2fsprogs on the file itself, so that no loop device and no mount is needed.
import { chmodSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { run } from "../command.ts";

/** Makes the image `path` of `megabytes` with the content of `folder`. The file is sparse. */
export async function makeDisk(path: string, folder: string, megabytes: number): Promise<void> {
  writeFileSync(path, "");
  truncateSync(path, megabytes * 2 ** 20);
  await run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d", folder, path], {
    timeoutSeconds: 120,
    label: "mke2fs",
  });
}

/** Copies all that the image holds into `folder`. A machine that was ended left its journal behind: it is replayed. */
export async function readDisk(path: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  // 1: errors corrected, 2: reboot advised: both are what is wanted here.
  await run("e2fsck", ["-f", "-y", path], { timeoutSeconds: 180, label: "e2fsck", accept: [0, 1, 2, 3] });
  await run("debugfs", ["-R", `rdump / ${folder}`, path], { timeoutSeconds: 300, label: "debugfs" });
  chmodSync(folder, 0o755);
}
