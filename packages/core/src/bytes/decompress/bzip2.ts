// bzip2, for kernels built with CONFIG_KERNEL_BZIP2. Of the packages at hand one needs Node's Buffer and one reads
// on past the end of broken data, so the format is decoded here, with every count checked.
import { FormatError, TruncatedError, UnsupportedError } from "../errors.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

const GROUP_SIZE = 50;
const MAX_CODE_LENGTH = 20;
const BLOCK_HIGH = 0x314159;
const BLOCK_LOW = 0x265359;
const END_HIGH = 0x177245;
const END_LOW = 0x385090;

const crcTable = Int32Array.from({ length: 256 }, (_, i) => {
  let c = i << 24;
  for (let k = 0; k < 8; k++) c = c < 0 ? (c << 1) ^ 0x04c11db7 : c << 1;
  return c;
});

class BitReader {
  at = 0;
  private held = 0;
  private count = 0;
  constructor(
    readonly bytes: Uint8Array,
    private readonly name: string,
  ) {}

  /** The next `n` ≤ 24 bits, most significant first. */
  bits(n: number): number {
    while (this.count < n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new TruncatedError(`${this.name}: bzip2`, this.at, this.bytes.length);
      this.held = (this.held << 8) | byte;
      this.count += 8;
    }
    this.count -= n;
    return (this.held >>> this.count) & ((1 << n) - 1);
  }
  align(): void {
    this.count = 0;
  }
  error(what: string): FormatError {
    return new FormatError(`${this.name}: bzip2+0x${this.at.toString(16)}`, what);
  }
}

/** Unpacks the bzip2 streams at the start of `packed`; bytes behind the last are left alone. Checks block CRCs. */
export function decompressBzip2(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const out = new OutputBuffer(options, packed.length);
  const input = new BitReader(packed, options.name);
  do {
    if (input.bits(24) !== 0x425a68) throw input.error("no bzip2 magic");
    const level = input.bits(8) - 0x30;
    if (level < 1 || level > 9) throw input.error(`block size ${level} (1 to 9)`);
    const block = new Uint32Array(level * 100_000);
    while (readBlock(input, block, out, options.name));
    input.align();
  } while (packed[input.at] === 0x42 && packed[input.at + 1] === 0x5a && packed[input.at + 2] === 0x68);
  return out.finish();
}

/** @returns false at the end of the stream */
function readBlock(input: BitReader, block: Uint32Array, out: OutputBuffer, name: string): boolean {
  const high = input.bits(24);
  const low = input.bits(24);
  const crc = (input.bits(16) << 16) | input.bits(16);
  if (high === END_HIGH && low === END_LOW) return false;
  if (high !== BLOCK_HIGH || low !== BLOCK_LOW) throw input.error("no block magic");
  if (input.bits(1)) throw new UnsupportedError(name, "a randomised bzip2 block (bzip2 before 0.9.5)");
  const origin = input.bits(24);
  const length = readSymbols(input, block);
  if (origin >= length) throw input.error(`origin ${origin} of ${length}`);
  if (undoTransform(block, length, origin, out) !== crc) throw input.error("block CRC differs");
  return true;
}

/** Huffman, move-to-front and zero runs: fills the low 8 bits of `block`. @returns bytes in the block */
function readSymbols(input: BitReader, block: Uint32Array): number {
  const order = readAlphabet(input);
  const end = order.length + 1;
  const tableCount = input.bits(3);
  if (tableCount < 2 || tableCount > 6) throw input.error(`${tableCount} Huffman tables (2 to 6)`);
  const selectors = readSelectors(input, tableCount);
  const tables = Array.from({ length: tableCount }, () => readTable(input, end + 1));
  let length = 0;
  let run = 0;
  let runBit = 1;
  for (let group = 0; group < selectors.length; group++) {
    const table = tables[selectors[group]!]!;
    for (let i = 0; i < GROUP_SIZE; i++) {
      const symbol = decodeSymbol(input, table);
      if (symbol <= 1) {
        run += runBit << symbol;
        runBit <<= 1;
        if (run > block.length) throw input.error("run longer than a block");
        continue;
      }
      if (run > 0) {
        if (run > block.length - length) throw input.error("block overflows");
        block.fill(order[0]!, length, length + run);
        length += run;
        run = 0;
        runBit = 1;
      }
      if (symbol === end) return length;
      if (length === block.length) throw input.error("block overflows");
      const byte = order[symbol - 1]!;
      order.copyWithin(1, 0, symbol - 1);
      order[0] = byte;
      block[length++] = byte;
    }
  }
  throw input.error("block without an end");
}

function readAlphabet(input: BitReader): Uint8Array {
  const used: number[] = [];
  const groups = input.bits(16);
  for (let i = 0; i < 16; i++) {
    if ((groups & (0x8000 >> i)) === 0) continue;
    const members = input.bits(16);
    for (let j = 0; j < 16; j++) if (members & (0x8000 >> j)) used.push(16 * i + j);
  }
  if (used.length === 0) throw input.error("no byte is used");
  return Uint8Array.from(used);
}

function readSelectors(input: BitReader, tableCount: number): Uint8Array {
  const count = input.bits(15);
  const selectors = new Uint8Array(count);
  const order = Array.from({ length: tableCount }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    let at = 0;
    while (input.bits(1)) if (++at >= tableCount) throw input.error("selector out of range");
    const [table] = order.splice(at, 1);
    order.unshift(table!);
    selectors[i] = table!;
  }
  return selectors;
}

interface Table {
  readonly symbols: Uint16Array;
  /** By code length: first code, and where its symbols start minus that code. */
  readonly last: Int32Array;
  readonly base: Int32Array;
}

function readTable(input: BitReader, size: number): Table {
  const lengths = new Uint8Array(size);
  let length = input.bits(5);
  for (let i = 0; i < size; i++) {
    while (true) {
      if (length < 1 || length > MAX_CODE_LENGTH) throw input.error(`code of ${length} bits (1 to 20)`);
      if (!input.bits(1)) break;
      length += input.bits(1) ? -1 : 1;
    }
    lengths[i] = length;
  }
  const symbols = new Uint16Array(size);
  const last = new Int32Array(MAX_CODE_LENGTH + 1).fill(-1);
  const base = new Int32Array(MAX_CODE_LENGTH + 1);
  let code = 0;
  let at = 0;
  for (let bits = 1; bits <= MAX_CODE_LENGTH; bits++) {
    code <<= 1;
    base[bits] = at - code;
    for (let i = 0; i < size; i++) {
      if (lengths[i] !== bits) continue;
      symbols[at++] = i;
      last[bits] = code++;
    }
  }
  return { symbols, last, base };
}

function decodeSymbol(input: BitReader, { symbols, last, base }: Table): number {
  let code = 0;
  for (let bits = 1; bits <= MAX_CODE_LENGTH; bits++) {
    code = (code << 1) | input.bits(1);
    if (code <= last[bits]!) {
      const symbol = symbols[base[bits]! + code];
      if (symbol !== undefined) return symbol;
      break;
    }
  }
  throw input.error("bits that are no code");
}

/** The inverse Burrows-Wheeler transform, then runs of 4 + count. @returns the CRC of what was written */
function undoTransform(block: Uint32Array, length: number, origin: number, out: OutputBuffer): number {
  const next = new Uint32Array(257);
  for (let i = 0; i < length; i++) next[(block[i]! & 0xff) + 1]!++;
  for (let i = 1; i < 257; i++) next[i]! += next[i - 1]!;
  for (let i = 0; i < length; i++) {
    const to = next[block[i]! & 0xff]!++;
    block[to] = (block[to]! & 0xff) | (i << 8);
  }
  let crc = -1;
  let at = block[origin]! >>> 8;
  let same = 0;
  let previous = -1;
  out.reserve(Math.min(length, out.limit - out.length));
  for (let i = 0; i < length; i++) {
    const entry = block[at]!;
    const byte = entry & 0xff;
    at = entry >>> 8;
    let count = 1;
    if (same === 4) {
      count = byte;
      same = 0;
    } else {
      same = byte === previous ? same + 1 : 1;
      previous = byte;
    }
    out.reserve(count);
    for (let k = 0; k < count; k++) {
      out.bytes[out.length++] = previous;
      crc = (crc << 8) ^ crcTable[((crc >>> 24) ^ previous) & 0xff]!;
    }
    if (same === 0) previous = -1;
  }
  return ~crc;
}
