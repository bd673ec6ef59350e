// The one cursor for all binary formats: little-endian, bounds-checked, and it words its own errors, so that no
// reader ever sees a zero where the file has ended.
import { FormatError, TruncatedError } from "./errors.ts";

const latin1 = new TextDecoder("latin1");

export class Cursor {
  private readonly view: DataView;
  /** Offset of the next read from the start of `bytes`. */
  offset = 0;

  /**
   * @param bytes what to read
   * @param part how messages name it, e.g. "vmcore: .note.Xen"
   * @param base added to offsets in messages, when `bytes` starts inside its part
   */
  constructor(
    readonly bytes: Uint8Array,
    readonly part: string,
    readonly base = 0,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  /** "vmcore: .note.Xen+0x1c" for the given or the current offset. */
  where(offset = this.offset): string {
    return `${this.part}+0x${(this.base + offset).toString(16)}`;
  }

  /** A FormatError at the given or the current offset. */
  error(problem: string, offset = this.offset): FormatError {
    return new FormatError(this.where(offset), problem);
  }

  private take(length: number): number {
    const at = this.offset;
    if (!(length >= 0) || at < 0 || at + length > this.bytes.length) {
      throw new TruncatedError(this.where(at), length, this.bytes.length - at);
    }
    this.offset = at + length;
    return at;
  }

  seek(offset: number): this {
    if (!(offset >= 0 && offset <= this.bytes.length)) {
      throw new TruncatedError(this.where(0), offset, this.bytes.length);
    }
    this.offset = offset;
    return this;
  }
  skip(length: number): this {
    this.take(length);
    return this;
  }
  align(size: number): this {
    const rest = (this.base + this.offset) % size;
    if (rest !== 0) this.take(size - rest);
    return this;
  }
  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }
  i64(): bigint {
    return this.view.getBigInt64(this.take(8), true);
  }
  /** A u64 that must fit a file offset or a count. @throws FormatError above 2^53. */
  size64(): number {
    const at = this.offset;
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.error(`0x${value.toString(16)} is no plausible size or offset`, at);
    }
    return Number(value);
  }
  /** A view of the next `length` bytes. */
  takeBytes(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }
  /** A NUL-padded fixed-size field as text. */
  text(length: number): string {
    const bytes = this.takeBytes(length);
    const end = bytes.indexOf(0);
    return latin1.decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
  /** A NUL-terminated string; the NUL is consumed. @throws TruncatedError without a NUL. */
  cstring(): string {
    const end = this.bytes.indexOf(0, this.offset);
    if (end < 0) throw new TruncatedError(this.where(), this.remaining + 1, this.remaining);
    const text = latin1.decode(this.bytes.subarray(this.offset, end));
    this.offset = end + 1;
    return text;
  }
}
