// What the commands use to find a dump's kernel image and modules.
import type { KernelImage } from "../../core/src/image/types.ts";
import { FilesContext, type FilesOptions } from "./context.ts";
import { type FoundImage, findImage, type ImageRequest } from "./find-image.ts";
import { type FoundModule, findModules, type ModuleRequest } from "./find-modules.ts";
import { openImage } from "./open-image.ts";

export { prepareCodecs, prepareSyncCodecs } from "./codecs.ts";
export type { FilesOptions, Origin } from "./context.ts";
export type { FoundImage, ImageRequest, Match } from "./find-image.ts";
export type { FoundModule, ModuleRequest } from "./find-modules.ts";

export interface Files {
  /** See findImage. */
  image(request: ImageRequest): Promise<FoundImage>;
  /** See findModules: name → file, names that are nowhere left out. */
  modules(requests: readonly ModuleRequest[], release: string | undefined): Promise<Map<string, FoundModule>>;
  /** One image file, through the cache: for commands that take an image and no dump. */
  open(path: string): Promise<KernelImage>;
}

/** One run's file finding: options once, then as many questions as needed. */
export function openFiles(options: FilesOptions): Files {
  const context = new FilesContext(options);
  return {
    image: (request) => findImage(context, request),
    modules: (requests, release) => findModules(context, requests, release),
    open: (path) => openImage(context, context.open(path), path),
  };
}
