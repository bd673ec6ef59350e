// Keeps what was expensive to unpack: a vmlinux takes most of a second to unpack and 40 ms to read back. Entries are
// named by a digest of what they were made from, written whole or not at all, and checked before they are believed.
import { randomBytes } from "node:crypto";
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ByteSource, SubSource } from "../../core/src/bytes/source.ts";
import { FileSource } from "./file-source.ts";
import { xxh32 } from "./xxh32.ts";

const MAGIC = Buffer.from("PLMPSST1");
const CHUNK = 256 * 1024;
const ZEROS = new Uint8Array(CHUNK);
const ALIGN = 4096;
const META_MAX = 1 << 20;
export const CACHE_LIMIT = 2 * 2 ** 30;
/** The folder is looked through after each hundredth part of the limit, so that many small entries stay cheap. */
const PRUNE_PART = 100;
/** A writer that died leaves its temporary file; nobody writes for an hour. */
const STALE_MS = 3_600_000;

/** Small facts kept beside the bytes. */
export type BlobFacts = Readonly<Record<string, string | undefined>>;

export interface Blob {
  readonly bytes: ByteSource;
  readonly facts: BlobFacts;
}

interface Meta {
  readonly key: string;
  readonly size: number;
  /** XXH32 of each 256 KiB; null for one of zeros, which is half of a vmlinux: a hole in the file. */
  readonly digests: readonly (number | null)[];
  readonly facts: BlobFacts;
}

export interface BlobCacheOptions {
  /** Default: ${XDG_CACHE_HOME:-~/.cache}/palimpsest/images */
  readonly folder?: string;
  /** Most bytes of all entries together; the longest unused go first. */
  readonly limit?: number;
  /** Told once when entries cannot be written. */
  readonly note: (text: string) => void;
}

export class BlobCache {
  readonly folder: string;
  private readonly limit: number;
  private complained = false;
  /** Since the last look at the limit; the first write looks. */
  private written = Number.POSITIVE_INFINITY;

  constructor(private readonly options: BlobCacheOptions) {
    this.folder =
      options.folder ?? join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "palimpsest", "images");
    this.limit = options.limit ?? CACHE_LIMIT;
  }

  /**
   * The entry, every byte of it checked; undefined when there is none or it is damaged (it is then removed).
   * @param key letters, digits, "-"
   * @param name what messages call the bytes
   */
  get(key: string, name: string): Blob | undefined {
    const path = join(this.folder, key);
    let file: FileSource;
    try {
      file = new FileSource(path);
    } catch {
      return undefined;
    }
    try {
      const { meta, start } = readMeta(file, key);
      checkData(path, start, meta);
      const now = new Date();
      utimesSync(path, now, now); // use decides which entry is dropped first
      return { bytes: new SubSource(name, file, start, meta.size), facts: meta.facts };
    } catch {
      file.close();
      quietly(() => rmSync(path, { force: true }));
      return undefined;
    }
  }

  /** Writes an entry, then drops old ones beyond the limit. Failing to write is a note, never an error. */
  put(key: string, bytes: ByteSource, facts: BlobFacts): void {
    const path = join(this.folder, key);
    const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
    if (bytes.size > this.limit) return;
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      writeBlob(temporary, key, bytes, facts);
      renameSync(temporary, path);
      this.written += bytes.size;
      if (this.written >= this.limit / PRUNE_PART) this.prune();
    } catch (error) {
      quietly(() => rmSync(temporary, { force: true }));
      if (this.complained) return;
      this.complained = true;
      this.options.note(`nothing is kept in ${this.folder}: ${error instanceof Error ? error.message : error}`);
    }
  }

  private prune(): void {
    this.written = 0;
    const entries = readdirSync(this.folder).flatMap((name) => {
      try {
        const { blocks, mtimeMs } = statSync(join(this.folder, name));
        return [{ path: join(this.folder, name), size: blocks * 512, mtimeMs }];
      } catch {
        return []; // another process dropped it
      }
    });
    let total = 0;
    for (const { path, size, mtimeMs } of entries.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
      total += size;
      const stale = path.endsWith(".tmp") && Date.now() - mtimeMs > STALE_MS;
      if (stale || total > this.limit) quietly(() => rmSync(path, { force: true }));
    }
  }
}

/** Layout: magic, u32 length and u32 XXH32 of the JSON text, the text, zeros up to a page, the bytes. */
function readMeta(file: ByteSource, key: string): { meta: Meta; start: number } {
  const head = Buffer.from(file.read(0, 16));
  const length = head.readUInt32LE(8);
  if (!head.subarray(0, 8).equals(MAGIC) || length > META_MAX) throw new Error("no cache entry");
  const text = file.read(16, length);
  if (xxh32(text) !== head.readUInt32LE(12)) throw new Error("damaged description");
  const meta = JSON.parse(new TextDecoder().decode(text)) as Meta;
  const start = Math.ceil((16 + length) / ALIGN) * ALIGN;
  if (meta.key !== key || start + meta.size !== file.size) throw new Error("not the entry that its name says");
  return { meta, start };
}

function checkData(path: string, start: number, meta: Meta): void {
  const fd = openSync(path, "r");
  try {
    const buffer = new Uint8Array(Math.min(CHUNK, meta.size));
    for (let i = 0, at = 0; at < meta.size; i++, at += CHUNK) {
      const chunk = buffer.subarray(0, Math.min(CHUNK, meta.size - at));
      const got = readSync(fd, chunk, 0, chunk.length, start + at);
      const digest = meta.digests[i];
      if (got !== chunk.length || (digest === null ? !isZero(chunk) : xxh32(chunk) !== digest)) {
        throw new Error("damaged data");
      }
    }
  } finally {
    closeSync(fd);
  }
}

function isZero(chunk: Uint8Array): boolean {
  return Buffer.compare(chunk, ZEROS.subarray(0, chunk.length)) === 0;
}

function writeBlob(path: string, key: string, bytes: ByteSource, facts: BlobFacts): void {
  const chunks = function* (): Generator<[number, Uint8Array], void> {
    for (let at = 0; at < bytes.size; at += CHUNK) yield [at, bytes.read(at, Math.min(CHUNK, bytes.size - at))];
  };
  const digests: (number | null)[] = [];
  for (const [, chunk] of chunks()) digests.push(isZero(chunk) ? null : xxh32(chunk));
  const meta: Meta = { key, size: bytes.size, digests, facts };
  const text = Buffer.from(JSON.stringify(meta));
  const start = Math.ceil((16 + text.length) / ALIGN) * ALIGN;
  const head = Buffer.alloc(16);
  MAGIC.copy(head);
  head.writeUInt32LE(text.length, 8);
  head.writeUInt32LE(xxh32(text), 12);
  const fd = openSync(path, "wx", 0o600);
  try {
    writeAll(fd, head, 0);
    writeAll(fd, text, 16);
    for (const [at, chunk] of chunks()) if (digests[at / CHUNK] !== null) writeAll(fd, chunk, start + at);
    ftruncateSync(fd, start + bytes.size);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}

function quietly(run: () => void): void {
  try {
    run();
  } catch {
    // Cleaning up after a failure must not hide it.
  }
}
