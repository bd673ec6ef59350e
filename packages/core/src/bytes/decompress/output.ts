// Where every decompressor writes: a buffer that grows with what was really unpacked and never past a limit, so
// that a size which a file merely claims can reserve nothing and a crafted file cannot fill the memory.
import { FormatError } from "../errors.ts";

/** The most that one packed file may become: ten times a large vmlinux. */
export const DEFAULT_LIMIT = 512 * 1024 * 1024;

export interface DecompressOptions {
  /** What messages call the packed data, e.g. "vmlinuz: payload". */
  readonly name: string;
  /** Bytes that the file claims to unpack to. Only a hint for the first allocation. */
  readonly sizeHint?: number;
  /** Bytes; unpacking more is a FormatError. Default 512 MiB. */
  readonly limit?: number;
}

const FIRST = 64 * 1024;
/** A hint is believed up to this many bytes for each packed byte; real kernels pack 4:1 to 10:1. */
const PLAUSIBLE_RATIO = 32;

export class OutputBuffer {
  bytes: Uint8Array<ArrayBuffer>;
  length = 0;
  readonly limit: number;

  constructor(
    private readonly options: DecompressOptions,
    packedLength: number,
  ) {
    this.limit = options.limit ?? DEFAULT_LIMIT;
    const hint = Math.min(options.sizeHint ?? 4 * packedLength, PLAUSIBLE_RATIO * packedLength + FIRST);
    this.bytes = new Uint8Array(Math.max(0, Math.min(this.limit, Math.max(hint, FIRST))));
  }

  /** Makes room for `count` more bytes behind `length`. @throws FormatError when the limit would be passed. */
  reserve(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.bytes.length) return;
    if (wanted > this.limit) {
      throw new FormatError(this.options.name, `unpacks to more than ${this.limit} bytes`);
    }
    const bytes = new Uint8Array(Math.min(this.limit, Math.max(wanted, Math.ceil(this.bytes.length * 1.5))));
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
  }

  append(chunk: Uint8Array): void {
    this.reserve(chunk.length);
    this.bytes.set(chunk, this.length);
    this.length += chunk.length;
  }

  /** What was written. A much larger buffer behind it is let go. */
  finish(): Uint8Array {
    const written = this.bytes.subarray(0, this.length);
    return this.bytes.length > this.length * 1.25 + FIRST ? written.slice() : written;
  }
}
