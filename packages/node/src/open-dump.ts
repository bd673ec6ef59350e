// From a path to an Analysis: the file, the kernel in it, and the images that belong to it, opened when they are asked for.
import { dirname, join } from "node:path";
import { inflateSync } from "node:zlib";
import { Analysis } from "../../core/src/analysis/analysis.ts";
import type { AnalysisOptions, Progress } from "../../core/src/analysis/parts.ts";
import { OpenError, UsageError } from "../../core/src/analysis/refusals.ts";
import type { ImageSet } from "../../core/src/audit/audit.ts";
import { imageMismatch, moduleBuildId } from "../../core/src/audit/identity.ts";
import { FormatError, MissingError, PalimpsestError } from "../../core/src/bytes/errors.ts";
import type { KernelImage } from "../../core/src/image/types.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { needsZstd, openDump as openDumpSource } from "../../core/src/memory/open.ts";
import type { Dump } from "../../core/src/memory/types.ts";
import { DebugInfo } from "./debug-info.ts";
import { FileSource } from "./file-source.ts";
import { type Files, openFiles, prepareCodecs } from "./files.ts";
import { symbolsOf } from "./vmlinux-symbols.ts";

export interface OpenDumpOptions extends Pick<AnalysisOptions, "force" | "onProgress" | "onNote" | "signal"> {
  /** The kernel image: vmlinuz, vmlinux, a .deb or .rpm, or a folder with one. Default: where distributions put it, then beside the dump. */
  readonly image?: string;
  /** Modules: a folder, a .ko, a .deb or an .rpm. */
  readonly modules?: string;
  /** vmlinux or .ko with DWARF, for kernels without BTF. */
  readonly debugInfo?: string;
  /** Keep and use unpacked images under the user's cache folder; default true. */
  readonly cache?: boolean;
}

/**
 * Opens a dump. `close()` of what it gives back closes the file.
 * @throws FormatError, TruncatedError, UnsupportedError for a file that is no dump; OpenError when no kernel is found in it;
 *   the system's error when the file cannot be opened
 */
export async function openDump(path: string, options: OpenDumpOptions = {}): Promise<Analysis> {
  const source = new FileSource(path);
  try {
    const { force, onProgress, onNote, signal } = options;
    onProgress?.({ part: 0.05, what: "opening the dump" });
    if (needsZstd(source)) await prepareCodecs();
    const dump = openDumpSource(source, { inflate });
    onProgress?.({ part: 0.1, what: "finding the kernel" });
    const debugInfo = options.debugInfo === undefined ? undefined : await openDebugInfo(options.debugInfo);
    const kernel = kernelOf(dump, debugInfo, options);
    return new Analysis(kernel, {
      force,
      onProgress,
      onNote,
      signal,
      images: (progress) => imagesOf(kernel, options, progress),
      heldBytes: () => process.memoryUsage().rss,
      onClose: () => source.close(),
    });
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * The kernel image and the modules' files. What is not found is told, not thrown.
 * @throws UsageError when the image is of another build; the PalimpsestError of a named file that is no image
 */
async function imagesOf(
  kernel: Kernel,
  options: OpenDumpOptions,
  onProgress: (progress: Progress) => void,
): Promise<ImageSet> {
  onProgress({ part: 0.2, what: "unpacking the kernel image" });
  const files = openFiles({
    dumpPath: kernel.dump.path,
    imageFlag: options.image,
    modulesFlag: options.modules,
    useCache: options.cache,
    note: options.onNote,
  });
  const { core, coreProblem } = await coreImage(files, kernel, options);
  const requests = kernel.modules.map((module) => ({ name: module.name, buildId: moduleBuildId(kernel, module) }));
  const modules = await files.modules(requests, kernel.release || undefined);
  return { core, coreProblem, module: (module) => modules.get(module.name)?.open() };
}

async function coreImage(
  files: Files,
  kernel: Kernel,
  options: OpenDumpOptions,
): Promise<{ core?: KernelImage; coreProblem?: string }> {
  let core: KernelImage;
  try {
    core = (await files.image({ release: kernel.release || undefined, buildId: kernel.buildId })).image;
  } catch (error) {
    if (!(error instanceof MissingError) || options.image !== undefined) throw error;
    return { coreProblem: missingImage(kernel) };
  }
  const mismatch = imageMismatch(kernel, core);
  if (mismatch !== undefined && !options.force) {
    throw new UsageError(
      `${core.path} is another build: ${mismatch}`,
      "Give the image of the kernel that ran with --image, or compare all the same with --force.",
      "mismatch",
    );
  }
  return { core };
}

/** The full list of the places that were looked into is in docs and help; a user needs the next step. */
function missingImage({ release, buildId, version }: Kernel): string {
  const what = `no image of Linux ${release || "of this dump"} (build-id ${buildId ?? "unknown"})`;
  const where = "was found in /boot, /usr/lib/debug, /lib/modules or beside the dump; give it with --image";
  const isDebian = /\b(Debian|Ubuntu)\b/.test(version) && /^[\w.+~-]+$/.test(release);
  return isDebian
    ? `${what} ${where} (a file or a package: apt-get download linux-image-${release})`
    : `${what} ${where} (a file, a folder or a package)`;
}

/** zlib pages by Node's own zlib, several times as fast as the portable one. */
function inflate(packed: Uint8Array, out: Uint8Array): number {
  const bytes = inflateSync(packed, { maxOutputLength: out.length });
  out.set(bytes);
  return bytes.length;
}

/** Its sections may be packed. */
async function openDebugInfo(path: string): Promise<DebugInfo> {
  await prepareCodecs();
  return DebugInfo.open(new FileSource(path));
}

function kernelOf(dump: Dump, debugInfo: DebugInfo | undefined, options: OpenDumpOptions): Kernel {
  try {
    const kernel = openKernel(dump, {
      types: debugInfo && ((context) => debugInfo.typesFor(context)),
      symbols: () => symbolsOf([options.image, options.debugInfo, join(dirname(dump.path), "vmlinux")]),
    });
    debugInfo?.checkModule(kernel);
    return kernel;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (debugInfo !== undefined && error instanceof FormatError && error.where === debugInfo.types.origin) {
      throw debugInfo.contradicted(error);
    }
    throw error instanceof PalimpsestError ? new OpenError(dump.path, error, dump.problems) : error;
  }
}
