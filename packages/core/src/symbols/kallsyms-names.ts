// The compressed names of kallsyms: 256 tokens, and for each symbol a length and that many token numbers. Hashing
// goes token by token (a polynomial hash composes over concatenation), so that finding a name among 200,000 needs
// no string but the one that is asked for.
import { FormatError } from "../bytes/errors.ts";

const TOKENS = 256;
const BASE = 31;
const latin1 = new TextDecoder("latin1");
const utf8 = new TextEncoder();

/** How long names say their length: one byte, or since 6.1 (commit 73bbb94466fd) ULEB128 of up to two bytes. */
export type NameLengths = "byte" | "uleb128";

export interface TokenTable {
  readonly bytes: Uint8Array;
  /** starts[i]..starts[i+1]-1 is token i without its NUL. */
  readonly starts: Uint32Array;
}

/**
 * Splits `kallsyms_token_table` by `kallsyms_token_index`.
 * @param index u16[256], offsets into the table
 * @throws FormatError when the two do not agree
 */
export function readTokens(table: Uint8Array, index: Uint8Array): TokenTable {
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const starts = new Uint32Array(TOKENS + 1);
  let at = 0;
  for (let i = 0; i < TOKENS; i++) {
    if (view.getUint16(i * 2, true) !== at) {
      const claimed = view.getUint16(i * 2, true);
      throw new FormatError(
        `kallsyms_token_index+0x${(i * 2).toString(16)}`,
        `token ${i} said to be at ${claimed}, is at ${at}`,
      );
    }
    starts[i] = at;
    const end = table.indexOf(0, at);
    if (end < 0) throw new FormatError(`kallsyms_token_table+0x${at.toString(16)}`, `token ${i} has no end`);
    at = end + 1;
  }
  starts[TOKENS] = at;
  return { bytes: table, starts };
}

/**
 * Walks `count` names. Returns the offset of each, and behind the last one that of the end; undefined when the
 * names do not fit into `bytes` (then `lengths` or `count` is wrong).
 */
export function walkNames(bytes: Uint8Array, count: number, lengths: NameLengths): Uint32Array | undefined {
  if (count * 2 > bytes.length) return undefined; // a length and at least one token each
  const offsets = new Uint32Array(count + 1);
  const big = lengths === "uleb128";
  const size = bytes.length;
  let at = 0;
  for (let i = 0; i < count; i++) {
    offsets[i] = at;
    if (at >= size) return undefined;
    let length = bytes[at++];
    if (big && length >= 0x80) {
      if (at >= size) return undefined;
      length = (length & 0x7f) | (bytes[at++] << 7);
    }
    if (length === 0) return undefined;
    at += length;
  }
  if (at > size) return undefined;
  offsets[count] = at;
  return offsets;
}

export class CompressedNames {
  private heads: Int32Array | undefined;
  private next = new Int32Array();
  private readonly scratch = new Uint8Array(1 << 16);

  constructor(
    private readonly tokens: TokenTable,
    private readonly bytes: Uint8Array,
    /** as `walkNames` returns them */
    private readonly offsets: Uint32Array,
    private readonly lengths: NameLengths,
  ) {}

  /** Letter and name, e.g. "T_stext". */
  decode(index: number): string {
    return latin1.decode(this.scratch.subarray(0, this.expand(index)));
  }

  /** nm's letter alone. */
  letter(index: number): string {
    const { bytes, starts } = this.tokens;
    for (let at = this.first(index); at < this.offsets[index + 1]; at++) {
      const token = this.bytes[at];
      if (starts[token + 1] - starts[token] > 1) return String.fromCharCode(bytes[starts[token]]);
    }
    return "?";
  }

  /** Rows whose name (without the letter) is `name`, ascending. */
  rows(name: string): number[] {
    const wanted = utf8.encode(name);
    this.heads ??= this.buildIndex();
    let hash = 0;
    for (let i = 0; i < wanted.length; i++) hash = (Math.imul(hash, BASE) + wanted[i]) | 0;
    const out: number[] = [];
    for (let row = this.heads[slot(hash, this.heads.length)]; row >= 0; row = this.next[row]) {
      if (this.expand(row) === wanted.length + 1 && sameBytes(this.scratch, 1, wanted)) out.push(row);
    }
    return out;
  }

  private first(index: number): number {
    const at = this.offsets[index];
    return at + (this.lengths === "uleb128" && this.bytes[at] >= 0x80 ? 2 : 1);
  }

  /** Puts letter and name into `scratch`; returns their length. A name too long for it (no real one) is cut. */
  private expand(index: number): number {
    const { bytes, starts } = this.tokens;
    const scratch = this.scratch;
    let length = 0;
    for (let at = this.first(index); at < this.offsets[index + 1]; at++) {
      const token = this.bytes[at];
      const end = starts[token + 1] - 1;
      if (length + end - starts[token] > scratch.length) break;
      for (let i = starts[token]; i < end; i++) scratch[length++] = bytes[i];
    }
    return length;
  }

  private buildIndex(): Int32Array {
    const { bytes, starts } = this.tokens;
    // hash of a token, of a token without its first character, and 31^length for both
    const whole = new Int32Array(TOKENS);
    const tail = new Int32Array(TOKENS);
    const power = new Int32Array(TOKENS);
    for (let token = 0; token < TOKENS; token++) {
      power[token] = 1;
      for (let i = starts[token]; i < starts[token + 1] - 1; i++) {
        whole[token] = (Math.imul(whole[token], BASE) + bytes[i]) | 0;
        if (i > starts[token]) tail[token] = (Math.imul(tail[token], BASE) + bytes[i]) | 0;
        power[token] = Math.imul(power[token], BASE);
      }
    }
    const count = this.offsets.length - 1;
    let size = 1024;
    while (size < count * 2) size *= 2;
    const heads = new Int32Array(size).fill(-1);
    const next = new Int32Array(count);
    const names = this.bytes;
    const offsets = this.offsets;
    for (let row = count - 1; row >= 0; row--) {
      let at = this.first(row);
      const end = offsets[row + 1];
      let hash = tail[names[at]];
      for (at++; at < end; at++) hash = (Math.imul(hash, power[names[at]]) + whole[names[at]]) | 0;
      const place = slot(hash, size);
      next[row] = heads[place]; // from the last row to the first, so that chains ascend
      heads[place] = row;
    }
    this.next = next;
    return heads;
  }
}

function slot(hash: number, size: number): number {
  return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 8) & (size - 1);
}

function sameBytes(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}
