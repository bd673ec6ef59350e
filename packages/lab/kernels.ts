// Brings a Debian kernel (vmlinuz, config, modules) into the cache. The newest package that the flavour's suites
// have now is taken; when it cannot be downloaded, an older one; with no network at all, what the cache holds.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Apt, openApt } from "./apt.ts";
import { lastLines, run, unpackSome } from "./command.ts";
import { compareVersions } from "./debian-version.ts";
import { LabError, UnavailableError } from "./errors.ts";
import {
  choosePackages,
  type Flavour,
  findFlavour,
  flavours,
  type PackageVersion,
  packageParts,
  worthTrying,
} from "./flavours.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder } from "./paths.ts";

/** A kernel in the cache; also the content of its kernel.json. */
export interface KernelFacts {
  readonly flavour: string;
  readonly package: string;
  readonly version: string;
  /** What `uname -r` says. */
  readonly release: string;
}

export interface Kernel extends KernelFacts {
  /** The kernel's folder: vmlinuz, config, lib/modules/RELEASE/, kernel.json. */
  readonly folder: string;
}

const RESOLVED_FRESH_SECONDS = 6 * 3600;

/** The flavour of an alias. @throws LabError naming the aliases that exist */
export function requireFlavour(alias: string): Flavour {
  const flavour = findFlavour(alias);
  if (flavour) return flavour;
  throw new LabError(`no kernel "${alias}"; there are ${flavours.map((known) => known.alias).join(", ")}`);
}

/** All kernels in the cache, newest first. */
export function cachedKernels(): Kernel[] {
  const root = cacheFolder("kernels");
  return readdirSync(root)
    .filter((name) => existsSync(join(root, name, "kernel.json")))
    .map((name) => readKernel(join(root, name)))
    .sort((a, b) => compareVersions(b.version, a.version));
}

/** A kernel's name among folders: package and version. */
export function kernelKey({ package: name, version }: Pick<PackageVersion, "package" | "version">): string {
  return `${name}_${version.replaceAll(":", "%3a")}`;
}

function readKernel(folder: string): Kernel {
  const facts = JSON.parse(readFileSync(join(folder, "kernel.json"), "utf8")) as KernelFacts;
  return { ...facts, folder };
}

/**
 * The newest kernel of a flavour, downloaded if the cache does not hold it. Suites are asked at most once in six
 * hours; `note` gets a line when an older package, or the cache, has to serve.
 * @throws UnavailableError when no suite offers it and the cache holds none; LabError for an unknown alias
 */
export async function fetchKernel(alias: string, note: (line: string) => void): Promise<Kernel> {
  const flavour = requireFlavour(alias);
  return withLock(join(cacheFolder("locks"), `kernel-${alias}`), async () => {
    const stamp = join(cacheFolder("kernels"), `${alias}.asked`);
    const cached = cachedKernels().find((kernel) => kernel.flavour === alias);
    if (cached && existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < RESOLVED_FRESH_SECONDS * 1000)
      return cached;
    try {
      const kernel = await newestKernel(flavour, note);
      writeFileSync(stamp, kernel.package);
      return kernel;
    } catch (error) {
      if (!cached || !(error instanceof LabError)) throw error;
      note(`${error.message}; using ${cached.package} ${cached.version} from the cache`);
      return cached;
    }
  });
}

async function newestKernel(flavour: Flavour, note: (line: string) => void): Promise<Kernel> {
  const { apt, candidates } = await withApt(flavour);
  const root = cacheFolder("kernels");
  let trouble = "";
  for (const candidate of worthTrying(candidates)) {
    const folder = join(root, kernelKey(candidate));
    if (existsSync(join(folder, "kernel.json"))) return readKernel(folder);
    try {
      await fillFolder(folder, (temporary) => unpackKernel(apt, flavour, candidate, temporary));
      return readKernel(folder);
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      trouble = error.message;
      note(`${candidate.package} ${candidate.version} could not be had: ${lastLines(trouble, 2)}`);
    }
  }
  throw new UnavailableError(flavour.alias, trouble);
}

/** Opens the flavour's suites under a lock, since apt allows one user of its lists. */
export async function withApt(flavour: Flavour): Promise<{ apt: Apt; candidates: PackageVersion[] }> {
  return withLock(join(cacheFolder("locks"), `apt-${flavour.suites.join("+")}`), async () => {
    const apt = await openApt(flavour.suites);
    const candidates = choosePackages(flavour, await apt.offered("^linux-image-[0-9].*-amd64$"));
    if (candidates.length > 0) return { apt, candidates };
    const why = apt.complaint ? `: ${apt.complaint}` : "";
    throw new UnavailableError(flavour.alias, `${flavour.suites.join(" and ")} offer no such package now${why}`);
  });
}

/** Downloads a kernel's packages and lays their parts out the same way, however Debian split them. */
async function unpackKernel(apt: Apt, flavour: Flavour, image: PackageVersion, folder: string): Promise<void> {
  const offered = await apt.versions(packageParts(image.package));
  const parts = offered.filter((part) => part.version === image.version);
  const work = join(folder, "work");
  const tree = join(work, "tree");
  mkdirSync(tree, { recursive: true });
  for (const deb of await apt.download(parts, work)) {
    await run("dpkg-deb", ["-x", deb, tree], { timeoutSeconds: 300 });
  }
  const modules = ["usr/lib/modules", "lib/modules"].map((path) => join(tree, path)).find(existsSync);
  const release = modules && readdirSync(modules)[0];
  if (!modules || !release) throw new LabError(`${image.package} ${image.version} holds no modules`);
  const find = (name: string) =>
    [join(tree, "boot", `${name}-${release}`), join(modules, release, name)].find((path) => existsSync(path));
  const vmlinuz = find("vmlinuz");
  if (!vmlinuz) throw new LabError(`${image.package} ${image.version} holds no vmlinuz`);
  copyFileSync(vmlinuz, join(folder, "vmlinuz"));
  const config = find("config");
  if (config) copyFileSync(config, join(folder, "config"));
  mkdirSync(join(folder, "lib"));
  renameSync(modules, join(folder, "lib", "modules"));
  rmSync(work, { recursive: true, force: true });
  const facts: KernelFacts = { flavour: flavour.alias, package: image.package, version: image.version, release };
  writeFileSync(join(folder, "kernel.json"), `${JSON.stringify(facts, null, 1)}\n`);
}

const DEBUG_TIMEOUT_SECONDS = 1800;

/** The debug vmlinux of a cached kernel, or undefined; `fetchDebugImage` brings it. */
export function debugImage(kernel: Kernel): string | undefined {
  const path = join(kernel.folder, "vmlinux-debug");
  return existsSync(path) ? path : undefined;
}

/**
 * Brings the vmlinux with debug information (about 0.6 GB to download) that crash needs.
 * @throws UnavailableError when the suite has no -dbg package of that version
 */
export async function fetchDebugImage(kernel: Kernel): Promise<string> {
  return withLock(join(cacheFolder("locks"), `debug-${kernel.package}`), async () => {
    const present = debugImage(kernel);
    if (present) return present;
    const { apt } = await withApt(requireFlavour(kernel.flavour));
    const offered = await apt.versions([`${kernel.package}-dbg`]);
    const found = offered.find(({ version }) => version === kernel.version);
    if (!found) throw new UnavailableError(kernel.flavour, `no ${kernel.package}-dbg ${kernel.version} is offered now`);
    const target = join(kernel.folder, "vmlinux-debug");
    const work = mkdtempSync(`${kernel.folder}.debug-`);
    try {
      for (const deb of await apt.download([found], work, DEBUG_TIMEOUT_SECONDS)) {
        await unpackSome(deb, ["./usr/lib/debug/*/vmlinux*"], work, DEBUG_TIMEOUT_SECONDS);
      }
      const names = [`boot/vmlinux-${kernel.release}`, `lib/modules/${kernel.release}/vmlinux`];
      const image = names.map((name) => join(work, "usr/lib/debug", name)).find(existsSync);
      if (!image) throw new LabError(`${found.package} ${found.version} holds no vmlinux`);
      renameSync(image, target);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    return target;
  });
}
