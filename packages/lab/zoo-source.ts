// Debian's kernel sources for the zoo: the newest linux-source package of a series, unpacked in the lab's cache. Nothing
// of it is ever committed.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openApt } from "./apt.ts";
import { lastLines, run, unpackSome } from "./command.ts";
import { compareVersions } from "./debian-version.ts";
import { LabError, UnavailableError } from "./errors.ts";
import type { PackageVersion } from "./flavours.ts";
import { requireFlavour } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder } from "./paths.ts";

/** An unpacked source tree. */
export interface KernelSource {
  /** "6.12.117-1" */
  readonly version: string;
  /** The tree: its Makefile lies there. */
  readonly folder: string;
}

/** A third of the tree, which no kernel of the zoo compiles; kconfig and kbuild files among it stay. */
const LEFT_OUT = ["*/drivers/gpu/*.[ch]", "*/Documentation/*.rst", "*/Documentation/devicetree/*.yaml"];
const UNPACK_TIMEOUT_SECONDS = 900;

/** The source packages of a series ("6.12", "7": its newest minor) among `offered`, newest first. */
export function sourcePackages(series: string, offered: readonly PackageVersion[]): PackageVersion[] {
  const minor = series.includes(".") ? "" : "\\.[0-9]+";
  const pattern = new RegExp(`^linux-source-${series.replaceAll(".", "\\.")}${minor}$`);
  return offered
    .filter((each) => pattern.test(each.package))
    .sort((a, b) => compareVersions(b.version, a.version) || (a.package < b.package ? 1 : -1));
}

/**
 * The newest source of a series; downloaded (120 to 165 MB) and unpacked (1.3 GB) once.
 * @throws UnavailableError when no suite offers it and the cache holds none
 */
export async function fetchSource(series: string, note: (line: string) => void): Promise<KernelSource> {
  const { suites } = requireFlavour(series);
  const root = cacheFolder("sources");
  return withLock(join(cacheFolder("locks"), `source-${series}`), async () => {
    let trouble = "no suite offers it now";
    try {
      const apt = await withLock(join(cacheFolder("locks"), `apt-${suites.join("+")}`), () => openApt(suites));
      const candidates = sourcePackages(series, await apt.offered("^linux-source-[0-9.]*$"));
      for (const candidate of candidates.slice(0, 3)) {
        const target = join(root, `${series}_${candidate.version}`);
        if (existsSync(target)) return readSource(target);
        try {
          note(`${candidate.package} ${candidate.version}: downloading and unpacking`);
          await fillFolder(target, async (folder) => {
            const [deb] = await apt.download([candidate], folder);
            await unpackTree(deb, folder);
            rmSync(deb);
            writeFileSync(join(folder, "version"), candidate.version);
          });
          return readSource(target);
        } catch (error) {
          if (!(error instanceof LabError)) throw error;
          trouble = lastLines(error.message, 2);
          note(`${candidate.package} ${candidate.version} could not be had: ${trouble}`);
        }
      }
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      trouble = lastLines(error.message, 2);
    }
    const held = readdirSync(root).filter((name) => name.startsWith(`${series}_`) && !name.includes(".tmp-"));
    const newest = held.sort((a, b) => compareVersions(b.slice(series.length + 1), a.slice(series.length + 1)))[0];
    if (newest === undefined) throw new UnavailableError(`linux-source-${series}`, trouble);
    note(`linux-source-${series}: ${trouble}; using ${newest} from the cache`);
    return readSource(join(root, newest));
  });
}

function readSource(folder: string): KernelSource {
  const tree = readdirSync(folder).find((name) => existsSync(join(folder, name, "Kbuild")));
  if (tree === undefined) throw new LabError(`${folder}: no kernel source in it; delete the folder`);
  return { version: folder.slice(folder.lastIndexOf("_") + 1), folder: join(folder, tree) };
}

/** The package holds one packed tar of the tree. */
async function unpackTree(deb: string, folder: string): Promise<void> {
  const work = join(folder, "work");
  mkdirSync(work);
  await unpackSome(deb, ["./usr/src/linux-source-*.tar.*"], work, UNPACK_TIMEOUT_SECONDS);
  const packed = readdirSync(join(work, "usr", "src"))[0];
  const leftOut = LEFT_OUT.map((pattern) => `--exclude=${pattern}`);
  await run("tar", ["-x", "-f", join(work, "usr", "src", packed), "-C", folder, ...leftOut], {
    timeoutSeconds: UNPACK_TIMEOUT_SECONDS,
    label: `tar -x ${packed}`,
  });
  rmSync(work, { recursive: true });
}
