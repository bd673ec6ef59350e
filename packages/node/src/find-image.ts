// Finds the kernel image that a dump's kernel was booted from: what the user names, else where distributions put
// it, else beside the dump. A candidate is believed by its build-id or release, not by its name.
import { dirname, join } from "node:path";
import { MissingError, PalimpsestError } from "../../core/src/bytes/errors.ts";
import type { KernelImage } from "../../core/src/image/types.ts";
import type { FilesContext, Origin } from "./context.ts";
import { listFolder, noSuchPath, pathKind } from "./folder.ts";
import { openImage } from "./open-image.ts";
import { imagePlaces, isImageName, releaseRank } from "./places.ts";

/** How surely the image is that of the dump. */
export type Match = "build-id" | "release" | "unknown" | "different";

export interface FoundImage {
  readonly image: KernelImage;
  /** The file, or "PACKAGE: PATH". */
  readonly path: string;
  readonly origin: Origin;
  readonly match: Match;
}

export interface ImageRequest {
  /** utsname.release of the dump, when known */
  readonly release?: string;
  /** hex, when the dump's VMCOREINFO or notes have it */
  readonly buildId?: string;
}

interface Candidate {
  readonly path: string;
  readonly origin: Origin;
  readonly open: () => Promise<KernelImage>;
}

/** Opening one costs up to a second. */
const OPEN_MAX = 8;

/**
 * The best image: by build-id, else by release, else the only one there is. With --image nothing else is looked at,
 * and an image of another kernel is returned as `match: "different"`, for the caller to tell.
 * @throws MissingError when none was found; `supply` lists where was looked
 * @throws the PalimpsestError of the named file when --image names one that cannot be opened
 */
export async function findImage(context: FilesContext, request: ImageRequest): Promise<FoundImage> {
  const { imageFlag } = context.options;
  const looked: string[] = [];
  if (imageFlag !== undefined) {
    const candidates = await flagCandidates(context, imageFlag, request, looked);
    const found = await best(context, candidates, request, true);
    if (found !== undefined) return found;
    throw new MissingError(`a kernel image in ${imageFlag}`, "looked for vmlinuz*, vmlinux*, bzImage* and kernel*");
  }
  const system = systemCandidates(context, request, looked);
  const found = await best(context, system, request, false);
  if (found !== undefined && found.match !== "different") return found;
  const beside = besideCandidates(context, request, looked);
  const last = await best(context, beside, request, false);
  if (last !== undefined && last.match !== "different") return last;
  const other = found ?? last;
  if (other !== undefined) context.note(`${other.path} is of ${describe(other.image)}, not of the dump's kernel`);
  throw new MissingError(
    `the kernel image of ${request.release ?? "the dump's kernel"}`,
    `looked in ${looked.join(", ")}`,
  );
}

function describe(image: KernelImage): string {
  return image.release ?? `build-id ${image.buildId ?? "unknown"}`;
}

async function flagCandidates(
  context: FilesContext,
  path: string,
  request: ImageRequest,
  looked: string[],
): Promise<Candidate[]> {
  const kind = context.kindOf(path);
  if (kind === undefined) throw noSuchPath(path, "--image takes a file, a folder, a .deb or an .rpm");
  if (kind === "file") return [fileCandidate(context, path, "flag")];
  if (kind === "folder") return folderCandidates(context, path, "flag", request, looked);
  const files = context.package(path);
  const paths = ranked((await files.paths()).filter(isImageName), request);
  return paths.map((member) => ({
    path: `${path}: ${member}`,
    origin: "flag",
    open: async () => {
      const source = (await files.read([member])).get(member);
      if (source === undefined) throw new MissingError(`${member} in ${path}`);
      return openImage(context, source, `${path}: ${member}`);
    },
  }));
}

function systemCandidates(context: FilesContext, request: ImageRequest, looked: string[]): Candidate[] {
  const places = imagePlaces(request.release, request.buildId).map((place) => join(context.root, place));
  looked.push(...places);
  return places.filter(isFile).map((path) => fileCandidate(context, path, "system"));
}

/** vmlinuz* and the like in the dump's own folder: how a dump is handed over, with its kernel beside it. */
function besideCandidates(context: FilesContext, request: ImageRequest, looked: string[]): Candidate[] {
  const { dumpPath } = context.options;
  if (dumpPath === undefined) return [];
  const folder = dirname(dumpPath);
  const { files } = listing(folder, { depth: 0, entries: 10_000 });
  looked.push(join(folder, "vmlinuz*"));
  const names = files.filter((path) => path !== dumpPath && isImageName(path));
  return ranked(names, request).map((path) => fileCandidate(context, path, "beside the dump"));
}

function folderCandidates(
  context: FilesContext,
  folder: string,
  origin: Origin,
  request: ImageRequest,
  looked: string[],
): Candidate[] {
  looked.push(folder);
  const { files, truncated } = listing(folder);
  if (truncated) context.note(`${folder} holds too many files; not all were looked at`);
  return ranked(files.filter(isImageName), request).map((path) => fileCandidate(context, path, origin));
}

function listing(folder: string, limits?: { depth: number; entries: number }) {
  try {
    return listFolder(folder, limits);
  } catch {
    return { files: [], truncated: false };
  }
}

function fileCandidate(context: FilesContext, path: string, origin: Origin): Candidate {
  return { path, origin, open: () => openImage(context, context.open(path), path) };
}

function ranked(paths: readonly string[], { release }: ImageRequest): string[] {
  return [...paths].sort((a, b) => releaseRank(a, release) - releaseRank(b, release) || a.localeCompare(b));
}

function isFile(path: string): boolean {
  try {
    return pathKind(path) === "file";
  } catch {
    return false; // no permission
  }
}

/** The first candidate that surely fits, else the best of those that could be opened. */
async function best(
  context: FilesContext,
  candidates: readonly Candidate[],
  request: ImageRequest,
  strict: boolean,
): Promise<FoundImage | undefined> {
  let second: FoundImage | undefined;
  let failure: PalimpsestError | undefined;
  for (const { path, origin, open } of candidates.slice(0, OPEN_MAX)) {
    let image: KernelImage;
    try {
      image = await open();
    } catch (error) {
      if (!(error instanceof PalimpsestError) && !(strict === false && error instanceof Error && "code" in error)) {
        throw error;
      }
      if (candidates.length > 1 || !strict) {
        const why = error.message.replace(`${path}: `, "");
        context.note(`${path} is passed over: ${why}`);
      }
      if (error instanceof PalimpsestError) failure ??= error;
      continue;
    }
    const found: FoundImage = { image, path, origin, match: matchOf(image, request) };
    if (found.match === "build-id") return found;
    // Without a build-id to compare, the first of the right release is as good as it gets.
    if (found.match === "release" && (request.buildId === undefined || image.buildId === undefined)) return found;
    if (second === undefined || order(found.match) < order(second.match)) second = found;
  }
  if (second === undefined && strict && failure !== undefined) throw failure;
  return second;
}

function matchOf(image: KernelImage, { release, buildId }: ImageRequest): Match {
  if (buildId !== undefined && image.buildId !== undefined) return buildId === image.buildId ? "build-id" : "different";
  if (release !== undefined && image.release !== undefined) return release === image.release ? "release" : "different";
  return "unknown";
}

function order(match: Match): number {
  return ["build-id", "release", "unknown", "different"].indexOf(match);
}
