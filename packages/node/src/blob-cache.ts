// Keeps what was expensive to unpack: a vmlinux takes most of a second to unpack and 40 ms to read back. Entries are
// named by a digest of what they were made from, written whole or not at all, and checked before they are believed.
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  ftruncateSync,
  lstatSync,
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
import { dirname, join } from "node:path";
import { type ByteSource, SubSource } from "../../core/src/bytes/source.ts";
import { FileSource } from "./file-source.ts";

const MAGIC = Buffer.from("PLMPSST2");
/** Magic, u32 length of the description, 4 bytes of zeros, its SHA-256. */
const HEAD = 48;
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
  /** SHA-256 of each 256 KiB, hex; null for one of zeros, which is half of a vmlinux: a hole in the file. */
  readonly digests: readonly (string | null)[];
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
      if (!this.isTrusted() || !isOwnFile(path)) return undefined;
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

  /**
   * What an entry says is believed since nobody but this user can have written it: the folder and the one above it are this
   * user's own, and no other may write there. Told once when that is not so; nothing is then read or kept.
   */
  private isTrusted(): boolean {
    const wrong = [dirname(this.folder), this.folder].find((folder) => isForeign(folder, folder === this.folder));
    if (wrong === undefined) return true;
    if (!this.complained) {
      const why = "belongs to another user, or others may write to it";
      this.options.note(`${wrong} ${why}: unpacked images are not kept there (chmod go-w, or XDG_CACHE_HOME)`);
    }
    this.complained = true;
    return false;
  }

  /** Writes an entry, then drops old ones beyond the limit. Failing to write is a note, never an error. */
  put(key: string, bytes: ByteSource, facts: BlobFacts): void {
    const path = join(this.folder, key);
    const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`;
    if (bytes.size > this.limit || !this.isTrusted()) return;
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

/** A folder in which another user can put or exchange files. Where there are no users none is. */
function isForeign(folder: string, itself: boolean): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  const user = process.getuid?.();
  if (stat === undefined || !stat.isDirectory() || user === undefined) return false;
  const open = (stat.mode & 0o022) !== 0;
  if (itself) return stat.uid !== user || open;
  // Of a sticky folder (/tmp) others cannot rename what is not theirs.
  return (stat.uid !== user && stat.uid !== 0) || (open && (stat.mode & 0o1000) === 0);
}

/** A regular file (no link to one) of this user that no other may change. */
function isOwnFile(path: string): boolean {
  const stat = lstatSync(path);
  const user = process.getuid?.();
  return stat.isFile() && (user === undefined || (stat.uid === user && (stat.mode & 0o022) === 0));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Layout: magic, u32 length, u32 0, SHA-256 of the JSON text, the text, zeros up to a page, the bytes. */
function readMeta(file: ByteSource, key: string): { meta: Meta; start: number } {
  const head = Buffer.from(file.read(0, HEAD));
  const length = head.readUInt32LE(8);
  if (!head.subarray(0, 8).equals(MAGIC) || length > META_MAX) throw new Error("no cache entry");
  const text = file.read(HEAD, length);
  if (sha256(text) !== head.toString("hex", 16, HEAD)) throw new Error("damaged description");
  const meta = JSON.parse(new TextDecoder().decode(text)) as Meta;
  const start = Math.ceil((HEAD + length) / ALIGN) * ALIGN;
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
      if (got !== chunk.length || (digest === null ? !isZero(chunk) : sha256(chunk) !== digest)) {
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
  const digests: (string | null)[] = [];
  for (const [, chunk] of chunks()) digests.push(isZero(chunk) ? null : sha256(chunk));
  const meta: Meta = { key, size: bytes.size, digests, facts };
  const text = Buffer.from(JSON.stringify(meta));
  const start = Math.ceil((HEAD + text.length) / ALIGN) * ALIGN;
  const head = Buffer.alloc(HEAD);
  MAGIC.copy(head);
  head.writeUInt32LE(text.length, 8);
  head.write(sha256(text), 16, "hex");
  const fd = openSync(path, "wx", 0o600);
  try {
    writeAll(fd, head, 0);
    writeAll(fd, text, HEAD);
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
