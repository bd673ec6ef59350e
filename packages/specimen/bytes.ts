// A growable little-endian byte buffer: every writer of the specimen appends to one and patches earlier fields
// once their value is known.

export class ByteWriter {
  private buffer = new Uint8Array(256);
  private view = new DataView(this.buffer.buffer);
  /** Bytes written so far; the offset of the next write. */
  length = 0;

  private room(count: number): number {
    const at = this.length;
    if (at + count > this.buffer.length) {
      const next = new Uint8Array(Math.max(this.buffer.length * 2, at + count));
      next.set(this.buffer.subarray(0, at));
      this.buffer = next;
      this.view = new DataView(next.buffer);
    }
    this.length = at + count;
    return at;
  }
  u8(value: number): this {
    const at = this.room(1);
    this.view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.room(2);
    this.view.setUint16(at, value, true);
    return this;
  }
  u32(value: number): this {
    const at = this.room(4);
    this.view.setUint32(at, value >>> 0, true);
    return this;
  }
  u64(value: bigint | number): this {
    const at = this.room(8);
    this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    return this;
  }
  bytes(data: ArrayLike<number>): this {
    const at = this.room(data.length);
    this.buffer.set(data, at);
    return this;
  }
  zeros(count: number): this {
    return this.fill(count, 0);
  }
  fill(count: number, value: number): this {
    const at = this.room(count);
    this.buffer.fill(value, at, at + count);
    return this;
  }
  /** Latin-1 text without a NUL. */
  text(value: string): this {
    return this.bytes(latin1(value));
  }
  /** NUL-terminated text. */
  cstring(value: string): this {
    return this.text(value).u8(0);
  }
  /** Text in a NUL-padded field of fixed size; the last byte stays NUL. */
  field(value: string, size: number): this {
    if (value.length >= size) throw new Error(`"${value}" does not fit a field of ${size} bytes`);
    return this.text(value).zeros(size - value.length);
  }
  align(size: number, fill = 0): this {
    const rest = this.length % size;
    return rest === 0 ? this : this.fill(size - rest, fill);
  }
  /** Overwrites bytes written before. */
  patch(offset: number, data: ArrayLike<number>): this {
    if (offset + data.length > this.length) throw new Error("patch past the end");
    this.buffer.set(data, offset);
    return this;
  }
  patch32(offset: number, value: number): this {
    this.view.setUint32(offset, value >>> 0, true);
    return this;
  }
  patch64(offset: number, value: bigint | number): this {
    this.view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true);
    return this;
  }
  /** A copy of what was written. */
  take(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}

export function latin1(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** Bytes out of hex text; blanks are ignored. */
export function hex(text: string): Uint8Array {
  const digits = text.replaceAll(/\s/g, "");
  const out = new Uint8Array(digits.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return out;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
}

export function alignUp(value: number, size: number): number {
  return Math.ceil(value / size) * size;
}

/** A little-endian signed 32-bit value as four bytes. */
export function le32(value: number): Uint8Array {
  return new ByteWriter().u32(value).take();
}

export function le64(value: bigint): Uint8Array {
  return new ByteWriter().u64(value).take();
}
