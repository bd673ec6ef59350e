// A bitmap of page frames in a file, with the rank of a bit (how many are set before it), which is the index of a page's
// descriptor. Counts are kept for every 32,768 frames; the bits themselves stay in the file.
import { PalimpsestError } from "../../bytes/errors.ts";
import { type ByteSource, readInto } from "../../bytes/source.ts";
import { PAGE_SIZE } from "../types.ts";

const BLOCK = 4096;
const FRAMES = BLOCK * 8;
const CACHED = 16;
// A range costs a hundred bytes, a bit costs an eighth: beyond this many, gaps are taken into their neighbours.
const RANGES_LIMIT = 1 << 16;

export class PageBitmap {
  /** Set bits before block i. One entry a block, found by reading, so a claimed size reserves nothing. */
  private readonly before: number[] = [];
  /** Set bits in all. */
  readonly count: number;
  /** Frames that the bitmap really has bits for. */
  readonly frames: number;
  private readonly cached: { block: number; words: Uint32Array }[] = [];

  /** @throws nothing for a bitmap that is cut off: it then has bits for fewer frames. */
  constructor(
    private readonly source: ByteSource,
    private readonly offset: number,
    frames: number,
  ) {
    let count = 0;
    let have = 0;
    const words = new Uint32Array(BLOCK / 4);
    while (have < frames) {
      if (!this.load(have / FRAMES, words, frames)) break;
      this.before.push(count);
      for (let i = 0; i < words.length; i++) if (words[i] !== 0) count += bits(words[i]);
      have = Math.min(frames, have + FRAMES);
    }
    this.count = count;
    this.frames = have;
  }

  /** Set bits before `frame`, or -1 when its own is not set. */
  rank(frame: number): number {
    if (!(frame >= 0 && frame < this.frames)) return -1;
    const block = Math.floor(frame / FRAMES);
    const words = this.block(block);
    const bit = frame % FRAMES;
    const word = bit >>> 5;
    if (((words[word] >>> (bit & 31)) & 1) === 0) return -1;
    let count = this.before[block];
    for (let i = 0; i < word; i++) count += bits(words[i]);
    return count + bits(words[word] & ((1 << (bit & 31)) - 1));
  }

  /** Runs of set bits, ascending. */
  runs(): { physical: number; length: number }[] {
    const out: { physical: number; length: number }[] = [];
    let start = -1;
    const put = (end: number) => {
      const last = out[out.length - 1];
      if (out.length >= RANGES_LIMIT) last.length = end * PAGE_SIZE - last.physical;
      else out.push({ physical: start * PAGE_SIZE, length: (end - start) * PAGE_SIZE });
      start = -1;
    };
    for (let frame = 0; frame < this.frames; ) {
      const words = this.block(Math.floor(frame / FRAMES));
      const end = Math.min(this.frames, frame + FRAMES);
      for (let i = 0; frame < end; i++) {
        const word = words[i];
        const last = Math.min(end, frame + 32);
        if (word === 0) {
          if (start >= 0) put(frame);
        } else if (word === 0xffffffff) {
          if (start < 0) start = frame;
        } else {
          for (let bit = 0; frame + bit < last; bit++) {
            const set = ((word >>> bit) & 1) !== 0;
            if (set && start < 0) start = frame + bit;
            else if (!set && start >= 0) put(frame + bit);
          }
        }
        frame = last;
      }
    }
    if (start >= 0) put(this.frames);
    return out;
  }

  private block(block: number): Uint32Array {
    const slot = block % CACHED;
    let entry = this.cached[slot];
    if (entry === undefined || entry.block !== block) {
      entry = { block, words: entry?.words ?? new Uint32Array(BLOCK / 4) };
      this.load(block, entry.words, this.frames);
      this.cached[slot] = entry;
    }
    return entry.words;
  }

  /** Reads a block's words, bits at and above `frames` cleared; false when the file does not have them. */
  private load(block: number, words: Uint32Array, frames: number): boolean {
    const bytes = new Uint8Array(words.buffer);
    const left = frames - block * FRAMES;
    const length = Math.min(BLOCK, Math.ceil(left / 8));
    try {
      readInto(this.source, this.offset + block * BLOCK, bytes.subarray(0, length));
    } catch (error) {
      if (error instanceof PalimpsestError) return false;
      throw error;
    }
    bytes.fill(0, length);
    if (left % 8 !== 0 && length < BLOCK) bytes[length - 1] &= (1 << (left % 8)) - 1;
    return true;
  }
}

/** Set bits of a 32-bit word. */
function bits(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
