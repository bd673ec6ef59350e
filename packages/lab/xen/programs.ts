// What a run on Xen needs of this machine, asked for all at once: one message instead of five.
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { LabError } from "../errors.ts";

/** Program → Debian package. */
const NEEDED: Readonly<Record<string, string>> = {
  "qemu-system-x86_64": "qemu-system-x86",
  mke2fs: "e2fsprogs",
  e2fsck: "e2fsprogs",
  debugfs: "e2fsprogs",
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  busybox: "busybox-static",
  gcc: "gcc",
  xz: "xz-utils",
  time: "time",
};

/** An ordinary user's PATH leaves out where mke2fs lies: both are looked through, and PATH is widened for what is run. */
export function requirePrograms(env: Record<string, string | undefined> = process.env): void {
  const folders = [...new Set([...(env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"])].filter(
    (folder) => folder !== "",
  );
  env.PATH = folders.join(":");
  const missing = Object.keys(NEEDED).filter((program) => !folders.some((folder) => executable(join(folder, program))));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((program) => NEEDED[program]))];
  throw new LabError(`not installed: ${missing.join(", ")}; try: apt-get install ${packages.join(" ")}`);
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
