// One run over one dump: the file, the kernel in it, and the images that belong to it, opened when they are asked for.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { inflateSync } from "node:zlib";
import type { ImageSet } from "../audit/audit.ts";
import { imageMismatch } from "../audit/identity.ts";
import { FileSource } from "../bytes/file-source.ts";
import { openModuleImage } from "../image/module-image.ts";
import type { KernelImage, ModuleImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/open.ts";
import { openDump } from "../memory/open.ts";
import { UsageError } from "./failure.ts";
import { prepareCodecs } from "./files/codecs.ts";
import { FilesContext } from "./files/context.ts";
import { openImage } from "./files/open-image.ts";
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
    await prepareCodecs();
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

  /** The kernel image and the modules' files. @throws UsageError when --image is another build */
  async images(): Promise<ImageSet> {
    if (this.imageSet !== undefined) return this.imageSet;
    this.progress.update(0.2, "unpacking the kernel image");
    const { kernel, options } = this;
    const context = new FilesContext({ dumpPath: kernel.dump.path, useCache: options.cache, note });
    const folder = dirname(kernel.dump.path);
    const imagePath =
      options.image ?? [`/boot/vmlinuz-${kernel.release}`, join(folder, "vmlinuz")].find((path) => existsSync(path));
    let core: KernelImage | undefined;
    if (imagePath !== undefined) {
      core = await openImage(context, new FileSource(imagePath), imagePath);
      const mismatch = imageMismatch(kernel, core);
      if (mismatch !== undefined && !options.force) {
        throw new UsageError(
          `${imagePath} is another build: ${mismatch}`,
          "Give the image of the kernel that ran with --image, or compare all the same with --force.",
        );
      }
    }
    const modules = new Map<string, ModuleImage>();
    const modulesFolder = options.modules ?? join(folder, "modules");
    for (const module of kernel.modules) {
      const path = join(modulesFolder, `${module.name}.ko`);
      if (existsSync(path)) modules.set(module.name, openModuleImage(new FileSource(path)));
    }
    this.imageSet = {
      core,
      coreProblem: core === undefined ? "no image of this kernel was found; give it with --image" : undefined,
      module: (module) => modules.get(module.name),
    };
    return this.imageSet;
  }
}
