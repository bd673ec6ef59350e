// apt with state of its own: lists, sources and downloads lie in the lab's cache, so that asking for the kernels of
// another suite changes nothing on this machine. Proxies, mirrors and keys are the machine's.
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { detectMirrors, parseIndexTargets, parseMadison, parseSimulation, sourcesList } from "./apt-targets.ts";
import { lastLines, run } from "./command.ts";
import type { PackageVersion } from "./flavours.ts";
import { cacheFolder } from "./paths.ts";

const DEFAULT_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LISTS_FRESH_SECONDS = 3600;

/** apt confined to some suites and to a folder of its own. */
export interface Apt {
  /** The versions that the suites offer of all packages whose name matches (a POSIX extended regular expression). */
  offered(namePattern: string): Promise<PackageVersion[]>;
  /** The versions of exactly these packages. */
  versions(names: readonly string[]): Promise<PackageVersion[]>;
  /** The newest of these packages with all that they depend on, as for a machine that has nothing installed. */
  needed(names: readonly string[]): Promise<PackageVersion[]>;
  /** Downloads NAME=VERSION packages into `folder`; the .deb files' paths. */
  download(packages: readonly PackageVersion[], folder: string, timeoutSeconds?: number): Promise<string[]>;
  /** What apt complained about when it fetched the lists; empty when all went well. */
  readonly complaint: string;
}

/**
 * Opens apt for `suites` and fetches their lists, unless that was done within the last hour. Lists that cannot be
 * fetched are no error here: what was fetched before is used, and `offered` is empty when there is nothing.
 * @throws LabError when apt is missing or knows no Debian mirror
 */
export async function openApt(suites: readonly string[]): Promise<Apt> {
  const folder = cacheFolder("apt", suites.join("+"));
  for (const part of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, part), { recursive: true });
  const targets = await run("apt-get", ["indextargets", "Created-By: Packages"], { timeoutSeconds: 60, env: PLAIN });
  const keyring = existsSync(DEFAULT_KEYRING) ? DEFAULT_KEYRING : undefined;
  const sources = join(folder, "sources.list");
  writeFileSync(sources, sourcesList(detectMirrors(parseIndexTargets(targets.stdout.toString())), suites, keyring));
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    "Dir::Etc::SourceParts=/dev/null",
    `Dir::State::Lists=${join(folder, "lists")}`,
    "Dir::State::status=/dev/null",
    `Dir::Cache=${join(folder, "cache")}`,
    "APT::Architecture=amd64",
    "APT::Sandbox::User=",
    "Acquire::Languages=none",
    "Acquire::Retries=2",
    "Acquire::http::Timeout=60",
    "Acquire::https::Timeout=60",
    // The archive of a suite that is no longer updated stays signed, but its Release file runs out.
    "Acquire::Check-Valid-Until=false",
  ].flatMap((option) => ["-o", option]);
  const complaint = await update(folder, options);
  const madison = async (names: readonly string[]): Promise<PackageVersion[]> => {
    if (names.length === 0) return [];
    const result = await run("apt-cache", [...options, "madison", ...names], {
      timeoutSeconds: 120,
      label: "apt-cache",
      env: PLAIN,
    });
    return parseMadison(result.stdout.toString());
  };
  return {
    complaint,
    versions: madison,
    async offered(namePattern) {
      const args = [...options, "search", "--names-only", namePattern];
      const found = await run("apt-cache", args, { timeoutSeconds: 120, label: "apt-cache", env: PLAIN });
      return madison(found.stdout.toString().match(/^\S+(?= - )/gm) ?? []);
    },
    async needed(names) {
      const args = [...options, "--no-install-recommends", "--simulate", "install", ...names];
      const found = await run("apt-get", args, { timeoutSeconds: 300, label: "apt-get --simulate", env: PLAIN });
      return parseSimulation(found.stdout.toString());
    },
    async download(packages, into, timeoutSeconds = 600) {
      const names = packages.map(({ package: name, version }) => `${name}=${version}`);
      await run("apt-get", [...options, "-qq", "download", ...names], {
        timeoutSeconds,
        label: `apt-get download ${names[0]}`,
        cwd: into,
        env: PLAIN,
      });
      return readdirSync(into)
        .filter((file) => file.endsWith(".deb"))
        .map((file) => join(into, file));
    },
  };
}

/** apt's words are parsed, so they must be English ones. */
const PLAIN = { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };

/** Fetches the lists when the last time is over an hour ago. Returns apt's complaint. */
async function update(folder: string, options: readonly string[]): Promise<string> {
  const stamp = join(folder, "updated");
  if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < LISTS_FRESH_SECONDS * 1000) return "";
  const accept = Array.from({ length: 256 }, (_, code) => code);
  const result = await run("apt-get", [...options, "update"], {
    timeoutSeconds: 300,
    label: "apt-get update",
    env: PLAIN,
    accept,
  });
  const complaint = result.stderr
    .split("\n")
    .filter((line) => /^[EW]:/.test(line))
    .join("\n");
  if (complaint === "" && result.exitCode === 0) {
    writeFileSync(stamp, "");
    utimesSync(stamp, new Date(), new Date());
  }
  return lastLines(complaint);
}
