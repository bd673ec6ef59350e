// The built layers that belong to a dump: what an image tells, refused when it is of another build.
import { BuiltCore } from "../built/core.ts";
import { BuiltModule } from "../built/module.ts";
import { PalimpsestError, UnsupportedError } from "../bytes/errors.ts";
import type { KernelImage, ModuleImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";
import { kaslrOffsetOf, moduleBuildId } from "./identity.ts";
import { shuffledFunctions } from "./shuffled.ts";

/** Where images come from. Opening may throw a PalimpsestError, which becomes a "not checked". */
export interface ImageSet {
  readonly core: KernelImage | undefined;
  /** Why there is no core image. */
  readonly coreProblem?: string;
  module(module: KernelModule): ModuleImage | undefined;
}

/**
 * The built layer of the core for this boot.
 * @throws MissingError when the kernel's variables have no names; UnsupportedError when its functions were shuffled;
 * FormatError when the image has no .text or its sections claim more than the file holds
 */
export function openCore(kernel: Kernel, image: KernelImage): BuiltCore {
  if (kernel.lackingSymbols !== undefined) throw new NoImage(kernel.lackingSymbols);
  const kaslrOffset = kaslrOffsetOf(kernel, image);
  const shuffled = shuffledFunctions(kernel.symbols, image.elf.sections, kaslrOffset);
  if (shuffled !== undefined) {
    throw new UnsupportedError(
      image.path,
      `a kernel that shuffles its functions at boot (FGKASLR: ${shuffled.moved} of ${shuffled.all} lie elsewhere than they were linked)`,
    );
  }
  return new BuiltCore(image, {
    kaslrOffset,
    symbols: kernel.symbols,
    initFreed: kernel.initFreed,
  });
}

/** The built layer of a module. @throws MissingError, FormatError … when its file is missing or another build */
export function openModule(kernel: Kernel, module: KernelModule, images: ImageSet, force = false): BuiltModule {
  if (kernel.lackingSymbols !== undefined) throw new NoImage(kernel.lackingSymbols);
  const image = images.module(module);
  if (image === undefined) throw new NoImage(`no file of module ${module.name} was found`);
  const running = moduleBuildId(kernel, module);
  if (!force && running !== undefined && image.buildId !== undefined && running !== image.buildId) {
    throw new NoImage(
      `${image.path} is another build: its build-id is ${image.buildId}, the loaded module's ${running}`,
    );
  }
  return new BuiltModule(kernel, module, image);
}

/** What to compare with is not there, or cannot be used. */
export class NoImage extends PalimpsestError {
  readonly kind = "missing";
}
