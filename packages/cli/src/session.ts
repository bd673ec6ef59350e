// One run over one dump: the file, the kernel in it, and the images that belong to it, opened when they are asked for.
import { dirname, join } from "node:path";
import { inflateSync } from "node:zlib";
import type { ImageSet } from "../../core/src/audit/audit.ts";
import { imageMismatch, moduleBuildId } from "../../core/src/audit/identity.ts";
import { FormatError, MissingError, PalimpsestError } from "../../core/src/bytes/errors.ts";
import type { KernelImage } from "../../core/src/image/types.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import type { Dump } from "../../core/src/memory/types.ts";
import { DebugInfo } from "../../node/src/debug-info.ts";
import { FileSource } from "../../node/src/file-source.ts";
import { type Files, openFiles, prepareCodecs } from "../../node/src/files.ts";
import { OpenError, UsageError } from "../../node/src/refusals.ts";
import { symbolsOf } from "../../node/src/vmlinux-symbols.ts";
import { type GlobalOptions, note, type Progress } from "./terminal.ts";

export class Session {
  private imageSet: ImageSet | undefined;

  private constructor(
    readonly kernel: Kernel,
    private readonly source: FileSource,
    private readonly options: GlobalOptions,
    private readonly progress: Progress,
  ) {}

  /** @throws PalimpsestError, or the system's error when the file cannot be opened */
  static async open(path: string, options: GlobalOptions, progress: Progress): Promise<Session> {
    const source = new FileSource(path);
    try {
      progress.update(0.05, "opening the dump");
      const dump = openDump(source, { inflate });
      progress.update(0.1, "finding the kernel");
      const debugInfo = options.debugInfo === undefined ? undefined : await openDebugInfo(options.debugInfo);
      return new Session(kernelOf(dump, debugInfo, options), source, options, progress);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  close(): void {
    this.source.close();
  }

  /**
   * The kernel image and the modules' files. What is not found is told, not thrown.
   * @throws UsageError when the image is of another build; the PalimpsestError of a file named by a flag that is no image
   */
  async images(): Promise<ImageSet> {
    if (this.imageSet !== undefined) return this.imageSet;
    this.progress.update(0.2, "unpacking the kernel image");
    const { kernel, options } = this;
    const files = openFiles({
      dumpPath: kernel.dump.path,
      imageFlag: options.image,
      modulesFlag: options.modules,
      useCache: options.cache,
      note,
    });
    const { core, coreProblem } = await this.coreImage(files);
    const requests = kernel.modules.map((module) => ({ name: module.name, buildId: moduleBuildId(kernel, module) }));
    const modules = await files.modules(requests, kernel.release || undefined);
    this.imageSet = { core, coreProblem, module: (module) => modules.get(module.name)?.open() };
    return this.imageSet;
  }

  private async coreImage(files: Files): Promise<{ core?: KernelImage; coreProblem?: string }> {
    const { kernel, options } = this;
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

function kernelOf(dump: Dump, debugInfo: DebugInfo | undefined, options: GlobalOptions): Kernel {
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
