// One run over one dump: the file, the kernel in it, and the images that belong to it, opened when they are asked for.
import { inflateSync } from "node:zlib";
import type { ImageSet } from "../audit/audit.ts";
import { imageMismatch, moduleBuildId } from "../audit/identity.ts";
import { MissingError } from "../bytes/errors.ts";
import { FileSource } from "../bytes/file-source.ts";
import type { KernelImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/open.ts";
import { openDump } from "../memory/open.ts";
import { UsageError } from "./failure.ts";
import { type Files, openFiles } from "./files/index.ts";
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
    progress.update(0.05, "opening the dump");
    const dump = openDump(source, {
      inflate: (packed, out) => {
        const bytes = inflateSync(packed, { maxOutputLength: out.length });
        out.set(bytes);
        return bytes.length;
      },
    });
    progress.update(0.1, "finding the kernel");
    return new Session(openKernel(dump), source, options, progress);
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
      return { coreProblem: `${error.message}; give it with --image` };
    }
    const mismatch = imageMismatch(kernel, core);
    if (mismatch !== undefined && !options.force) {
      throw new UsageError(
        `${core.path} is another build: ${mismatch}`,
        "Give the image of the kernel that ran with --image, or compare all the same with --force.",
      );
    }
    return { core };
  }
}
