// Reads headers and members out of an unpacked stream that comes in chunks: a kernel package unpacks to hundreds of
// megabytes, of which one vmlinuz and a few modules are wanted.

import { OutputBuffer } from "../../bytes/decompress/output.ts";
import { FormatError, TruncatedError } from "../../bytes/errors.ts";

/** A debug package unpacks to some 6 GB; a stream that goes on past this is no package. */
const STREAM_MAX = 16 * 2 ** 30;
const FIRST_MEMBER = 16 * 1024 * 1024;

export class ChunkReader {
  /** Bytes of the unpacked stream that were read or skipped. */
  offset = 0;
  private rest: Uint8Array = new Uint8Array();

  constructor(
    private readonly chunks: Iterator<Uint8Array, void>,
    readonly name: string,
  ) {}

  where(offset = this.offset): string {
    return `${this.name}+0x${offset.toString(16)}`;
  }

  /** A copy of the next `length` bytes, for headers. @throws TruncatedError when the stream ends before. */
  read(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let at = 0;
    this.take(length, (part) => {
      bytes.set(part, at);
      at += part.length;
    });
    return bytes;
  }

  /** The next `length` bytes as a member's contents; memory follows what comes, not `length`. */
  readMember(length: number, name: string, limit?: number): Uint8Array {
    const out = new OutputBuffer({ name, sizeHint: Math.min(length, FIRST_MEMBER), limit }, FIRST_MEMBER);
    this.take(length, (part) => out.append(part));
    return out.finish();
  }

  skip(length: number): void {
    this.take(length, () => {});
  }

  /** True when nothing follows. */
  atEnd(): boolean {
    return this.rest.length === 0 && !this.next();
  }

  private next(): boolean {
    for (;;) {
      const step = this.chunks.next();
      if (step.done) return false;
      if (step.value.length === 0) continue;
      this.rest = step.value;
      return true;
    }
  }

  private take(length: number, use: (part: Uint8Array) => void): void {
    if (this.offset + length > STREAM_MAX) throw new FormatError(this.where(), `goes on past ${STREAM_MAX} bytes`);
    let left = length;
    while (left > 0) {
      if (this.rest.length === 0 && !this.next()) throw new TruncatedError(this.where(), left, 0);
      const part = this.rest.subarray(0, left);
      use(part);
      this.rest = this.rest.subarray(part.length);
      this.offset += part.length;
      left -= part.length;
    }
  }
}
