// Which kernels the lab knows, by short alias, and which package of a suite is the newest one of a flavour.
// Never a pinned version: a suite moves on, and what was in it yesterday is gone.
import { compareVersions } from "./debian-version.ts";

export interface Flavour {
  /** What the user types: "6.1", "6.12-rt". */
  readonly alias: string;
  /** Suites that may hold it. */
  readonly suites: readonly string[];
  /** Matches the names of its image packages, wholly. */
  readonly packagePattern: RegExp;
}

/** A package at a version, as a suite offers it. */
export interface PackageVersion {
  readonly package: string;
  readonly version: string;
  readonly suite: string;
}

const series: readonly { alias: string; suites: readonly string[]; release: string }[] = [
  { alias: "5.10", suites: ["bullseye", "bullseye-security"], release: "5\\.10\\." },
  { alias: "6.1", suites: ["bookworm", "bookworm-security"], release: "6\\.1\\." },
  { alias: "6.12", suites: ["trixie", "trixie-security"], release: "6\\.12\\." },
  { alias: "7", suites: ["sid"], release: "7\\." },
];

/** All flavours: each series as amd64, cloud-amd64 and rt-amd64. */
export const flavours: readonly Flavour[] = series.flatMap(({ alias, suites, release }) =>
  ["", "-cloud", "-rt"].map((kind) => ({
    alias: alias + kind,
    suites,
    // The part after the release is an ABI number ("0-56") or an upstream version with a distribution mark
    // ("117+deb13"); neither has a letter right after a dash, so "-cloud" and "-rt" never hide in it.
    packagePattern: new RegExp(`^linux-image-${release}[0-9][0-9.]*(?:-[0-9]+)?(?:[+~][a-z0-9.+~]+)?${kind}-amd64$`),
  })),
);

/** The flavour of an alias, or undefined. */
export function findFlavour(alias: string): Flavour | undefined {
  return flavours.find((flavour) => flavour.alias === alias);
}

/** The packages among `offered` that are of the flavour, newest first. */
export function choosePackages(flavour: Flavour, offered: readonly PackageVersion[]): PackageVersion[] {
  return offered
    .filter((candidate) => flavour.packagePattern.test(candidate.package))
    .sort((a, b) => compareVersions(b.version, a.version) || (a.package < b.package ? 1 : -1));
}

/**
 * Which of the packages (newest first) are worth a download, in this order: the newest three, then the newest of each
 * suite. A suite that is about to vanish lists packages that its pool no longer holds.
 */
export function worthTrying(newestFirst: readonly PackageVersion[]): PackageVersion[] {
  const ofSuites = new Map<string, PackageVersion>();
  for (const candidate of newestFirst) if (!ofSuites.has(candidate.suite)) ofSuites.set(candidate.suite, candidate);
  return [...new Set([...newestFirst.slice(0, 3), ...ofSuites.values()])];
}

/**
 * The packages that a kernel may come in: the image package alone up to 6.x; since 7.0 Debian splits it, and
 * linux-image-X is empty but for its dependencies.
 */
export function packageParts(imagePackage: string): string[] {
  const rest = imagePackage.replace(/^linux-image-/, "");
  return ["image", "binary", "modules", "base"].map((part) => `linux-${part}-${rest}`);
}
