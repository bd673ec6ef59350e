// Opens one kernel image, out of the cache when it was unpacked before.
import type { ByteSource } from "../../core/src/bytes/source.ts";
import { kernelCodec, kernelImageOf, unpackKernel } from "../../core/src/image/kernel-image.ts";
import type { KernelImage } from "../../core/src/image/types.ts";
import { prepareCodecs, prepareSyncCodecs } from "./codecs.ts";
import type { FilesContext } from "./context.ts";
import { digestOf } from "./digest.ts";

/**
 * @param path what the user is told
 * @throws FormatError, TruncatedError, UnsupportedError
 */
export async function openImage(context: FilesContext, source: ByteSource, path: string): Promise<KernelImage> {
  const codec = kernelCodec(source);
  if (codec === undefined || context.cache === undefined) return unpack(source, path, codec);
  const key = `vmlinux-${digestOf(source)}`;
  const cached = context.cache.get(key, `${path}: vmlinux`);
  if (cached !== undefined) {
    const { container = "vmlinux", banner, version } = cached.facts;
    return kernelImageOf(path, { container, elf: cached.bytes, version, banner });
  }
  const image = await unpack(source, path, codec);
  const facts = { container: image.container, banner: image.version, version: image.release };
  context.cache.put(key, image.elf.source, facts);
  return image;
}

async function unpack(source: ByteSource, path: string, codec: string | undefined): Promise<KernelImage> {
  if (codec === "zstd") await prepareCodecs();
  else prepareSyncCodecs();
  return kernelImageOf(path, unpackKernel(source));
}
