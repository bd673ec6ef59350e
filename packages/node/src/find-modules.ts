// Finds the .ko files of a dump's modules: in what the user names, else under /lib/modules, else beside the dump.
// All names are asked for at once, since a package is one packed stream that is best walked once.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { MissingError } from "../../core/src/bytes/errors.ts";
import type { ByteSource } from "../../core/src/bytes/source.ts";
import { openModuleImage } from "../../core/src/image/module-image.ts";
import { canonicalModuleName, moduleNameOf } from "../../core/src/image/module-name.ts";
import type { ModuleImage } from "../../core/src/image/types.ts";
import { prepareCodecs, prepareSyncCodecs } from "./codecs.ts";
import type { FilesContext, Origin } from "./context.ts";
import { FileSource } from "./file-source.ts";
import { listFolder, noSuchPath } from "./folder.ts";
import { modulePlaces, releaseRank } from "./places.ts";

/** A distribution's list of 7,000 modules takes 1 MiB. */
const MODULES_DEP_LIMIT = 64 << 20;

export interface ModuleRequest {
  readonly name: string;
  /** hex, when the dump's module notes have it: decides between files of one name */
  readonly buildId?: string;
}

export interface FoundModule {
  /** As the kernel says it, with underscores. */
  readonly name: string;
  /** The file, or "PACKAGE: PATH". */
  readonly path: string;
  readonly origin: Origin;
  /**
   * Opened on first use and kept.
   * @throws FormatError, TruncatedError, UnsupportedError
   */
  open(): ModuleImage;
}

interface Place {
  readonly origin: Origin;
  /** Module name → paths, best first. */
  readonly index: ReadonlyMap<string, readonly string[]>;
  /** Makes the paths ready for `source`. */
  readonly prepare: (paths: readonly string[]) => Promise<void>;
  /** False for a path that the index names but that is not there. */
  readonly has: (path: string) => boolean;
  readonly source: (path: string) => ByteSource;
  /** What the user is told. */
  readonly label: (path: string) => string;
}

/**
 * Finds modules by name; those that are nowhere are left out.
 * @throws MissingError when --modules names nothing; FormatError for a pipe or device; FormatError and others when it names a broken package
 */
export async function findModules(
  context: FilesContext,
  requests: readonly ModuleRequest[],
  release: string | undefined,
): Promise<Map<string, FoundModule>> {
  const found = new Map<string, FoundModule>();
  prepareSyncCodecs();
  for await (const place of places(context, release)) {
    const wanted = requests.filter(({ name }) => !found.has(canonicalModuleName(name)));
    if (wanted.length === 0) break;
    const paths = wanted.flatMap(({ name }) => place.index.get(canonicalModuleName(name)) ?? []);
    if (paths.some((path) => path.endsWith(".zst"))) await prepareCodecs();
    await place.prepare(paths);
    for (const { name, buildId } of wanted) {
      const canonical = canonicalModuleName(name);
      const paths = (place.index.get(canonical) ?? []).filter((path) => place.has(path));
      const candidates = paths.map((path) => foundModule(place, canonical, path));
      const module = choose(candidates, buildId);
      if (module !== undefined) found.set(canonical, module);
    }
  }
  return found;
}

/** The places in order; a later one is only looked into while names are missing. */
async function* places(context: FilesContext, release: string | undefined): AsyncGenerator<Place, void> {
  const { imageFlag, modulesFlag, dumpPath } = context.options;
  if (modulesFlag !== undefined) {
    if (context.kindOf(modulesFlag) === undefined) {
      throw noSuchPath(modulesFlag, "--modules takes a folder, a .ko, a .deb or an .rpm");
    }
    yield* placesAt(context, modulesFlag, "flag", release);
    return;
  }
  // linux-image packages of most distributions hold the modules too, and so do folders with a kernel installed.
  if (imageFlag !== undefined && context.kindOf(imageFlag) !== "file") {
    yield* placesAt(context, imageFlag, "flag", release);
  }
  for (const folder of modulePlaces(release)) {
    yield* placesAt(context, join(context.root, folder), "system", release);
  }
  if (dumpPath !== undefined) yield* placesAt(context, join(dirname(dumpPath), "modules"), "beside the dump", release);
}

async function* placesAt(
  context: FilesContext,
  path: string,
  origin: Origin,
  release: string | undefined,
): AsyncGenerator<Place, void> {
  const kind = context.kindOf(path);
  if (kind === undefined) return;
  if (kind === "package") {
    const files = context.package(path);
    let ready: ReadonlyMap<string, ByteSource> = new Map();
    yield {
      origin,
      index: indexOf(await files.paths(), release),
      prepare: async (paths) => {
        ready = await files.read(paths);
      },
      has: (member) => ready.has(member),
      source: (member) => {
        const source = ready.get(member);
        if (source === undefined) throw new MissingError(`${member} in ${path}`);
        return source;
      },
      label: (member) => `${path}: ${member}`,
    };
    return;
  }
  const place = (files: readonly string[]): Place => ({
    origin,
    index: indexOf(files, release),
    prepare: async () => {},
    has: (file) => existsSync(file),
    source: (file) => context.open(file),
    label: (file) => file,
  });
  if (kind === "file") {
    yield place([path]);
    return;
  }
  // depmod's list spares reading hundreds of folders; what it does not name may still lie there.
  const listed = readModulesDep(path);
  if (listed !== undefined) yield place(listed);
  const { files, truncated } = listFolder(path);
  if (truncated) context.note(`${path} holds too many files; not all were looked at`);
  yield place(files);
}

/** Paths in FOLDER/modules.dep ("kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz …"); undefined without one. */
function readModulesDep(folder: string): string[] | undefined {
  let text: string;
  try {
    // No pipe, no device, no file without an end: what any other path of a user's is opened by.
    const source = new FileSource(join(folder, "modules.dep"));
    try {
      if (source.size > MODULES_DEP_LIMIT) return undefined;
      text = new TextDecoder("latin1").decode(source.read(0, source.size));
    } finally {
      source.close();
    }
  } catch {
    return undefined;
  }
  const names = text.split("\n").map((line) => line.slice(0, Math.max(0, line.indexOf(":"))));
  return names.filter((name) => moduleNameOf(name) !== undefined).map((name) => resolve(folder, name));
}

function indexOf(paths: readonly string[], release: string | undefined): Map<string, string[]> {
  const index = new Map<string, string[]>();
  for (const path of paths) {
    const name = moduleNameOf(path);
    // A .ko.debug holds symbols but no code.
    if (name === undefined || path.endsWith(".debug")) continue;
    const same = index.get(name);
    if (same === undefined) index.set(name, [path]);
    else same.push(path);
  }
  for (const same of index.values()) {
    if (same.length > 1) same.sort((a, b) => rank(a, release) - rank(b, release) || a.localeCompare(b));
  }
  return index;
}

/** depmod's default search order: updates, then extra, then what came with the kernel (depmod.d(5)). */
function rank(path: string, release: string | undefined): number {
  const inKernel = path.includes("/updates/") ? 0 : /\/(extra|weak-updates)\//.test(path) ? 1 : 2;
  return 3 * releaseRank(path, release) + inKernel;
}

function foundModule(place: Place, name: string, path: string): FoundModule {
  let image: ModuleImage | undefined;
  return {
    name,
    path: place.label(path),
    origin: place.origin,
    open() {
      image ??= openModuleImage(place.source(path));
      return image;
    },
  };
}

/** Of several files of one name the one with the build-id; the first when none has it. */
function choose(candidates: readonly FoundModule[], buildId: string | undefined): FoundModule | undefined {
  if (candidates.length < 2 || buildId === undefined) return candidates[0];
  const fits = (candidate: FoundModule): boolean => {
    try {
      return candidate.open().buildId === buildId;
    } catch {
      return false; // a broken file among several is no reason to stop
    }
  };
  return candidates.find(fits) ?? candidates[0];
}
