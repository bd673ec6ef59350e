// Where bytes come from: a file, a Blob in a worker, a buffer. The core is synchronous over this interface.
import { TruncatedError } from "./errors.ts";

export interface ByteSource {
  /** What messages call it, usually the file's path. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  /**
   * Bytes [offset, offset+length). The result is only lent: do not write to it, copy what must outlive the next call.
   * @throws TruncatedError when the range is not wholly inside.
   */
  read(offset: number, length: number): Uint8Array;
  /**
   * Fills `into` from `offset`, past any cache: for bulk copies and for small reads that nobody will repeat. Optional;
   * call the function of this name.
   * @throws TruncatedError when the range is not wholly inside.
   */
  readInto?(offset: number, into: Uint8Array): void;
}

// What a source without readInto is asked for at a time, so that it never lends a copy of everything.
const BLOCK = 1 << 20;

/** Fills `into` from the source's bytes at `offset`. @throws TruncatedError when the range is not wholly inside. */
export function readInto(source: ByteSource, offset: number, into: Uint8Array): void {
  if (source.readInto !== undefined) {
    source.readInto(offset, into);
    return;
  }
  checkRange(source, offset, into.length);
  for (let done = 0; done < into.length; done += BLOCK) {
    into.set(source.read(offset + done, Math.min(BLOCK, into.length - done)), done);
  }
}

/** A ByteSource over bytes already in memory. */
export class BufferSource implements ByteSource {
  readonly size: number;
  private readonly bytes: Uint8Array;
  constructor(
    readonly name: string,
    bytes: Uint8Array,
  ) {
    this.size = bytes.length;
    // slice() of a Node Buffer, which readFileSync() and gunzipSync() give, is no copy: readers would write into the source.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  read(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    return this.bytes.subarray(offset, offset + length);
  }
}

/** A window of another source, with its own name for messages. */
export class SubSource implements ByteSource {
  constructor(
    readonly name: string,
    private readonly parent: ByteSource,
    private readonly start: number,
    readonly size: number,
  ) {
    checkRange(parent, start, size);
  }
  read(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    return this.parent.read(this.start + offset, length);
  }
  readInto(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    readInto(this.parent, this.start + offset, into);
  }
}

/** Throws TruncatedError unless [offset, offset+length) lies inside the source. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  if (!(offset >= 0 && length >= 0 && offset + length <= source.size)) {
    throw new TruncatedError(`${source.name}: 0x${Math.max(0, offset).toString(16)}`, length, source.size - offset);
  }
}
