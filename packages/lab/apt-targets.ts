// Which mirror this machine's apt uses for Debian. The lab asks that mirror for the other suites too, so no host
// name stands anywhere in it, and a proxy or a local mirror that the machine needs is used by itself.
import { LabError } from "./errors.ts";
import type { PackageVersion } from "./flavours.ts";

/** One index of `apt-get indextargets`: what the lab needs of it. */
export interface IndexTarget {
  /** The suite as the sources name it: "bookworm", "bookworm-security". */
  readonly release: string;
  /** The archive's root, with a trailing slash. */
  readonly repoUri: string;
  /** The keyring that signs it; empty when apt's default keys do. */
  readonly signedBy: string;
}

/** Where the suites come from. */
export interface Mirror {
  readonly uri: string;
  readonly signedBy: string;
}

export interface Mirrors {
  readonly main: Mirror;
  /** Undefined when the machine's apt has no security archive. */
  readonly security: Mirror | undefined;
}

const suiteNames =
  /^(?:(?:old)*stable|testing|unstable|sid|buster|bullseye|bookworm|trixie|forky|duke)(?:-updates|-backports)?$/;
const securityNames = /^(?:(?:old)*stable|testing|buster|bullseye|bookworm|trixie|forky|duke)(?:-security|\/updates)$/;

/** Reads the paragraphs that `apt-get indextargets 'Created-By: Packages'` prints (deb822). */
export function parseIndexTargets(text: string): IndexTarget[] {
  return text
    .split(/\n[ \t]*\n/)
    .map((paragraph) => {
      const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "mi").exec(paragraph)?.[1]?.trim() ?? "";
      return { release: field("Release"), repoUri: field("Repo-URI"), signedBy: field("Signed-By") };
    })
    .filter((target) => target.release !== "" && target.repoUri !== "");
}

/**
 * Picks the main and the security archive of Debian among apt's targets.
 * @throws LabError when the machine's apt has no Debian archive
 */
export function detectMirrors(targets: readonly IndexTarget[]): Mirrors {
  const find = (pattern: RegExp): Mirror | undefined => {
    const target = targets.find(({ release, repoUri }) => pattern.test(release) && !/\s/.test(repoUri));
    return target && { uri: target.repoUri, signedBy: /^\/\S+$/.test(target.signedBy) ? target.signedBy : "" };
  };
  const main = find(suiteNames);
  if (main === undefined) {
    throw new LabError(
      "apt on this machine has no Debian archive among its sources, so the lab does not know a mirror",
    );
  }
  return { main, security: find(securityNames) };
}

/**
 * The sources.list lines for `suites`; a security suite is left out when the machine has no security archive.
 * `defaultKeyring` is used where the machine's own entry names none.
 */
export function sourcesList(mirrors: Mirrors, suites: readonly string[], defaultKeyring: string | undefined): string {
  const lines: string[] = [];
  for (const suite of suites) {
    const mirror = suite.endsWith("-security") ? mirrors.security : mirrors.main;
    if (mirror === undefined) continue;
    const keyring = mirror.signedBy || defaultKeyring;
    lines.push(`deb ${keyring ? `[signed-by=${keyring}] ` : ""}${mirror.uri} ${suite} main\n`);
  }
  return lines.join("");
}

/**
 * Reads what `apt-cache madison` prints: " name | version | URI SUITE/COMPONENT ARCH Packages". A version that several
 * suites offer counts once, for the first of them.
 */
export function parseMadison(text: string): PackageVersion[] {
  const seen = new Map<string, PackageVersion>();
  for (const line of text.split("\n")) {
    const [name, version, origin] = line.split("|").map((part) => part.trim());
    const suite = /\s([^\s/]+)\/\S+ \S+ Packages$/.exec(origin ?? "")?.[1];
    if (name && version && suite && !seen.has(`${name} ${version}`)) {
      seen.set(`${name} ${version}`, { package: name, version, suite });
    }
  }
  return [...seen.values()];
}

/** The packages of `apt-get --simulate install`: lines "Inst NAME (VERSION SUITE [ARCH])". */
export function parseSimulation(text: string): PackageVersion[] {
  return [...text.matchAll(/^Inst (\S+) (?:\[\S+\] )?\((\S+) (\S+)/gm)].map(([, name, version, suite]) => ({
    package: name,
    version,
    suite,
  }));
}
