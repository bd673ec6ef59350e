// Attachments lie outside the database, by digest: the same dump attached twice is kept once, and a file that is
// there is whole, since it gets its name only after it was written.
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface Blobs {
  /** Keeps bytes and tells their SHA-256 in hex. */
  put(bytes: Uint8Array): Promise<string>;
  /** @returns undefined when it is not there */
  get(digest: string): Promise<Uint8Array | undefined>;
}

export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export class FolderBlobs implements Blobs {
  constructor(private readonly folder: string) {}

  private path(digest: string): string {
    if (!/^[0-9a-f]{64}$/.test(digest)) throw new Error(`"${digest}" is no digest`);
    return join(this.folder, digest.slice(0, 2), digest);
  }

  async put(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    const path = this.path(digest);
    const there = await stat(path).catch(() => undefined);
    if (there?.size === bytes.length) return digest;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = `${path}.${randomUUID()}`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } finally {
      await rm(temporary, { force: true });
    }
    return digest;
  }

  async get(digest: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.path(digest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}
