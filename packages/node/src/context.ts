// What all file finding shares: where the dump lies, the cache, and whom to tell.

import type { ByteSource } from "../../core/src/bytes/source.ts";
import { packageKind } from "../../core/src/image/packages/package.ts";
import { BlobCache } from "./blob-cache.ts";
import { FileSource } from "./file-source.ts";
import { pathKind } from "./folder.ts";
import { PackageFiles } from "./package-files.ts";

/** Where a file came from, for users. */
export type Origin = "flag" | "system" | "beside the dump";

export interface FilesOptions {
  /** Its folder is the last place that is looked into. */
  readonly dumpPath?: string;
  /** --image: a file, a folder, a .deb or an .rpm */
  readonly imageFlag?: string;
  /** --modules: a folder, a .ko, a .deb or an .rpm */
  readonly modulesFlag?: string;
  /** --no-cache is false. */
  readonly useCache?: boolean;
  /** Put before every system path; "/" but in tests. */
  readonly root?: string;
  /** Default: the user's cache folder. */
  readonly cacheFolder?: string;
  /** Plain sentences for stderr. */
  readonly note?: (text: string) => void;
}

export class FilesContext {
  readonly root: string;
  readonly cache: BlobCache | undefined;
  readonly note: (text: string) => void;
  private readonly packages = new Map<string, PackageFiles>();

  constructor(readonly options: FilesOptions) {
    this.root = options.root ?? "/";
    this.note = options.note ?? (() => {});
    this.cache =
      options.useCache === false ? undefined : new BlobCache({ folder: options.cacheFolder, note: this.note });
  }

  /** "folder", "package", "file" or undefined when the path names nothing. @throws the system's error (EACCES …) */
  kindOf(path: string): "folder" | "package" | "file" | undefined {
    const kind = pathKind(path);
    if (kind !== "file") return kind;
    const source = this.open(path);
    const isPackage = packageKind(source) !== undefined;
    source.close();
    return isPackage ? "package" : "file";
  }

  package(path: string): PackageFiles {
    const files = this.packages.get(path) ?? new PackageFiles(path, this.cache);
    this.packages.set(path, files);
    return files;
  }

  open(path: string): ByteSource & { close(): void } {
    return new FileSource(path);
  }
}
