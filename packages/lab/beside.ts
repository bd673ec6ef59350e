// Packages of another Debian, unpacked in the lab's cache beside this machine's own and never installed: a program of
// theirs that this machine's C library is too old for runs by its own loader and libraries.
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Apt } from "./apt.ts";
import { run } from "./command.ts";
import { compareVersions } from "./debian-version.ts";
import { LabError } from "./errors.ts";
import type { PackageVersion } from "./flavours.ts";

const LIBRARY = /^(lib[a-z]|zlib)/;
/** Rounds of "and what these libraries need". */
const ROUNDS = 4;

/** The package names in a Depends field, the first of each group of alternatives. */
export function dependencies(field: string): string[] {
  return field
    .split(",")
    .map((group) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(group)?.[1] ?? "")
    .filter((name) => name !== "");
}

/** True for the name of a package of shared libraries. */
export function isLibrary(name: string): boolean {
  return LIBRARY.test(name);
}

/** Downloads packages and unpacks them into `folder`; the names of what they depend on. */
export async function unpack(apt: Apt, packages: readonly PackageVersion[], folder: string): Promise<string[]> {
  const work = join(folder, "work");
  mkdirSync(work, { recursive: true });
  const names: string[] = [];
  for (const deb of await apt.download(packages, work)) {
    const field = await run("dpkg-deb", ["-f", deb, "Depends"], { timeoutSeconds: 60 });
    names.push(...dependencies(field.stdout.toString()));
    await run("dpkg-deb", ["-x", deb, folder], { timeoutSeconds: 300 });
  }
  rmSync(work, { recursive: true });
  return [...new Set(names)];
}

/** One version of each package: the one that is asked for where it is offered, else the newest. */
export async function newest(apt: Apt, names: readonly string[], version?: string): Promise<PackageVersion[]> {
  const best = new Map<string, PackageVersion>();
  for (const each of await apt.versions(names)) {
    const known = best.get(each.package);
    if (known?.version === version && known !== undefined) continue;
    if (known === undefined || each.version === version || compareVersions(each.version, known.version) > 0)
      best.set(each.package, each);
  }
  return [...best.values()];
}

/** Unpacks the newest packages of these libraries and of what they need, the C library among them. */
export async function unpackLibraries(apt: Apt, libraries: readonly string[], folder: string): Promise<void> {
  let wanted = [...libraries];
  for (let round = 0, seen = new Set<string>(); wanted.length > 0 && round < ROUNDS; round++) {
    for (const each of wanted) seen = seen.add(each);
    const further = await unpack(apt, await newest(apt, wanted), folder);
    wanted = further.filter((each) => isLibrary(each) && !seen.has(each));
  }
}

/** Puts a script in a tool's place that runs it by the loader, and with the libraries, of its own Debian. */
export function throughLoader(tool: string, folder: string, target: string): void {
  const loader = ["usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
    .map((each) => join(each, "ld-linux-x86-64.so.2"))
    .find((each) => existsSync(join(folder, each)));
  if (loader === undefined) throw new LabError(`${basename(tool)}: its C library brought no loader`);
  const places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map((each) => join(target, each)).join(":");
  const real = join(dirname(tool), `.${basename(tool)}.elf`);
  renameSync(tool, real);
  const placed = real.replace(folder, target);
  writeFileSync(tool, `#!/bin/sh\nexec '${join(target, loader)}' --library-path '${places}' '${placed}' "$@"\n`);
  chmodSync(tool, 0o755);
}
