// The files of one .deb or .rpm, unpacked when needed and kept in the cache: walking a kernel package takes seconds.

import { createHash } from "node:crypto";
import { BufferSource, type ByteSource } from "../../core/src/bytes/source.ts";
import { moduleNameOf } from "../../core/src/image/module-name.ts";
import { openPackage } from "../../core/src/image/packages/package.ts";
import type { BlobCache } from "./blob-cache.ts";
import { prepareCodecs } from "./codecs.ts";
import { digestOf } from "./digest.ts";
import { FileSource } from "./file-source.ts";
import { isImageName } from "./places.ts";

/** Larger members are not unpacked; a debug vmlinux of 600 MB is better unpacked by its package manager. */
const MEMBER_MAX = 512 * 1024 * 1024;

export class PackageFiles {
  private readonly source: FileSource;
  private digest: string | undefined;
  private index: readonly string[] | undefined;
  private readonly held = new Map<string, ByteSource>();

  constructor(
    readonly path: string,
    private readonly cache: BlobCache | undefined,
  ) {
    this.source = new FileSource(path);
  }

  /** Paths of the kernel images and modules in the package. */
  async paths(): Promise<readonly string[]> {
    if (this.index !== undefined) return this.index;
    const key = this.key("index");
    const cached = key && this.cache?.get(key, this.path)?.bytes;
    if (cached) {
      this.index = new TextDecoder().decode(cached.read(0, cached.size)).split("\n").filter(Boolean);
    } else {
      // The walk passes the kernel image anyway, and it is wanted nearly always.
      await this.walk(isImageName);
    }
    return this.index ?? [];
  }

  /** Contents by path; paths that the package does not have are left out. */
  async read(paths: readonly string[]): Promise<ReadonlyMap<string, ByteSource>> {
    const known = new Set(await this.paths());
    const wanted = paths.filter((path) => known.has(path));
    const missing = new Set(wanted.filter((path) => !this.held.has(path) && !this.fromCache(path)));
    if (missing.size > 0) await this.walk((path) => missing.has(path));
    return new Map(wanted.flatMap((path) => (this.held.has(path) ? [[path, this.held.get(path)!]] : [])));
  }

  private fromCache(path: string): boolean {
    const key = this.key(path);
    const blob = key === undefined ? undefined : this.cache?.get(key, `${this.path}: ${path}`);
    if (blob !== undefined) this.held.set(path, blob.bytes);
    return blob !== undefined;
  }

  private async walk(wanted: (path: string) => boolean): Promise<void> {
    await prepareCodecs();
    const { members, files } = openPackage(this.source).read(({ path, size }) => size <= MEMBER_MAX && wanted(path));
    for (const [path, bytes] of files) {
      this.held.set(path, bytes);
      const key = this.key(path);
      if (key !== undefined) this.cache?.put(key, bytes, {});
    }
    if (this.index !== undefined) return;
    this.index = members.flatMap(({ path, kind }) =>
      kind === "file" && (isImageName(path) || moduleNameOf(path) !== undefined) ? [path] : [],
    );
    const key = this.key("index");
    const text = new TextEncoder().encode(this.index.join("\n"));
    if (key !== undefined) this.cache?.put(key, new BufferSource(this.path, text), {});
  }

  /** undefined without a cache: the digest of a large package costs 0.1 s. */
  private key(path: string): string | undefined {
    if (this.cache === undefined) return undefined;
    this.digest ??= digestOf(this.source);
    return `package-${createHash("sha256").update(`${this.digest}\0${path}`).digest("hex").slice(0, 48)}`;
  }
}
