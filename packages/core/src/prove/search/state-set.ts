// The set of global states: fixed-width rows of integers, numbered in the order they were found, compared in full (no
// fingerprints, so that "all states seen" means it). Rows live in chunks that never move; only the index is rebuilt.

const CHUNK_BITS = 14;
const CHUNK_ROWS = 1 << CHUNK_BITS;
const EMPTY = -1;

export class StateSet {
  count = 0;
  private readonly chunks: Int32Array[] = [];
  /** Pairs: number of the row, and its whole hash, so that a different row is nearly never looked at. */
  private index = new Int32Array(1 << 13).fill(EMPTY);
  private mask = (1 << 12) - 1;

  /** @param width integers a row */
  constructor(readonly width: number) {}

  get bytes(): number {
    return this.chunks.length * CHUNK_ROWS * this.width * 4 + this.index.length * 4;
  }

  /** Bytes at the most while `more` rows are added: a growing index is there twice for a moment. */
  bytesWhileAdding(more: number): number {
    const grows = (this.count + more) * 4 > this.index.length;
    return (
      this.bytes + Math.ceil(more / CHUNK_ROWS) * CHUNK_ROWS * this.width * 4 + (grows ? this.index.length * 8 : 0)
    );
  }

  /** The number of the row at `row[offset…]`, added when new: then it equals the old `count`. */
  add(row: Int32Array, offset: number): number {
    const width = this.width;
    let hash = 0x811c9dc5;
    for (let k = 0; k < width; k++) {
      hash = Math.imul(hash ^ row[offset + k], 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    const { index, mask, chunks } = this;
    let i = hash & mask;
    for (;;) {
      const id = index[i * 2];
      if (id === EMPTY) break;
      if (index[i * 2 + 1] === hash) {
        const chunk = chunks[id >> CHUNK_BITS];
        const at = (id & (CHUNK_ROWS - 1)) * width;
        let k = 0;
        while (k < width && chunk[at + k] === row[offset + k]) k++;
        if (k === width) return id;
      }
      i = (i + 1) & mask;
    }
    const id = this.count++;
    index[i * 2] = id;
    index[i * 2 + 1] = hash;
    if (id >> CHUNK_BITS === chunks.length) chunks.push(new Int32Array(CHUNK_ROWS * width));
    const chunk = chunks[id >> CHUNK_BITS];
    const at = (id & (CHUNK_ROWS - 1)) * width;
    for (let k = 0; k < width; k++) chunk[at + k] = row[offset + k];
    if (this.count * 4 > index.length) this.rehash();
    return id;
  }

  /** Copies row `id` to the start of `into`. */
  read(id: number, into: Int32Array): void {
    const chunk = this.chunks[id >> CHUNK_BITS];
    const at = (id & (CHUNK_ROWS - 1)) * this.width;
    for (let k = 0; k < this.width; k++) into[k] = chunk[at + k];
  }

  private rehash(): void {
    const old = this.index;
    const index = new Int32Array(old.length * 2).fill(EMPTY);
    const mask = old.length - 1;
    for (let k = 0; k < old.length; k += 2) {
      if (old[k] === EMPTY) continue;
      let i = old[k + 1] & mask;
      while (index[i * 2] !== EMPTY) i = (i + 1) & mask;
      index[i * 2] = old[k];
      index[i * 2 + 1] = old[k + 1];
    }
    this.index = index;
    this.mask = mask;
  }
}

/** A list of integers that grows in chunks: the successors of every state. */
export class IntList {
  length = 0;
  private readonly chunks: Int32Array[] = [];

  get bytes(): number {
    return this.chunks.length * (1 << 18);
  }
  push(value: number): void {
    const chunk = this.length >> 16;
    if (chunk === this.chunks.length) this.chunks.push(new Int32Array(1 << 16));
    this.chunks[chunk][this.length & 0xffff] = value;
    this.length++;
  }
  get(index: number): number {
    return this.chunks[index >> 16][index & 0xffff];
  }
}
