// The file-backed ByteSource: the one place of the library that may import node:fs. A browser uses a Blob-backed
// source instead.
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { FormatError, TruncatedError } from "../../core/src/bytes/errors.ts";
import { type ByteSource, checkRange } from "../../core/src/bytes/source.ts";

const CHUNK = 1 << 16;
const CACHED_CHUNKS = 256;

/** Reads a regular file. Small reads are served from a bounded cache of 64 KiB chunks; large ones go straight to the file. */
export class FileSource implements ByteSource {
  readonly size: number;
  private readonly fd: number;
  private readonly chunks = new Map<number, Uint8Array>();

  /** @throws the system's error (ENOENT, EACCES …) when the file cannot be opened; FormatError when it is no regular file */
  constructor(readonly name: string) {
    // Without O_NONBLOCK a named pipe would be waited for.
    this.fd = openSync(name, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = fstatSync(this.fd);
    if (!stat.isFile()) {
      closeSync(this.fd);
      throw new FormatError(
        name,
        `${kindOf(stat)}, not a file; bytes are read at any place, so a regular file is needed`,
      );
    }
    this.size = stat.size;
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    const first = Math.floor(offset / CHUNK);
    if (length > 0 && length <= CHUNK && Math.floor((offset + length - 1) / CHUNK) === first) {
      const start = offset - first * CHUNK;
      return this.chunk(first).subarray(start, start + length);
    }
    return this.readFile(offset, length);
  }

  close(): void {
    closeSync(this.fd);
  }

  private chunk(index: number): Uint8Array {
    let bytes = this.chunks.get(index);
    if (bytes === undefined) {
      const offset = index * CHUNK;
      bytes = this.readFile(offset, Math.min(CHUNK, this.size - offset));
      if (this.chunks.size >= CACHED_CHUNKS) {
        const oldest = this.chunks.keys().next().value;
        if (oldest !== undefined) this.chunks.delete(oldest);
      }
      this.chunks.set(index, bytes);
    }
    return bytes;
  }

  readInto(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    let done = 0;
    while (done < into.length) {
      const n = this.readSome(into, done, offset + done);
      if (n === 0) throw new TruncatedError(`${this.name}: 0x${offset.toString(16)}`, into.length, done);
      done += n;
    }
  }

  private readSome(into: Uint8Array, done: number, offset: number): number {
    try {
      return readSync(this.fd, into, done, into.length - done, offset);
    } catch (error) {
      // Node tells no path of a failed read (EIO of a dying disk).
      if (error instanceof Error) error.message = `${this.name}: 0x${offset.toString(16)}: ${error.message}`;
      throw error;
    }
  }

  private readFile(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.readInto(offset, bytes);
    return bytes;
  }
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return "a folder";
  if (stat.isFIFO()) return "a pipe";
  return stat.isSocket() ? "a socket" : "a device";
}
