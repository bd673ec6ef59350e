// A hash table from two small non-negative integers to one: the memory of every step that the explorer has taken once.
// Open addressing in typed arrays, because a Map with combined keys is several times slower.

const EMPTY = -1;

export class PairMap {
  private a: Int32Array;
  private b: Int32Array;
  private values: Int32Array;
  private mask: number;
  size = 0;

  constructor(capacity = 1024) {
    this.mask = capacity - 1;
    this.a = new Int32Array(capacity).fill(EMPTY);
    this.b = new Int32Array(capacity);
    this.values = new Int32Array(capacity);
  }

  get bytes(): number {
    return this.a.length * 12;
  }

  /** The value of (a, b), or -1. */
  get(a: number, b: number): number {
    let i = (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)) >>> 0;
    i = (i ^ (i >>> 15)) & this.mask;
    const keys = this.a;
    for (;;) {
      const key = keys[i];
      if (key === a && this.b[i] === b) return this.values[i];
      if (key === EMPTY) return -1;
      i = (i + 1) & this.mask;
    }
  }

  /** Adds (a, b), which must not be in the table yet. */
  set(a: number, b: number, value: number): void {
    if ((this.size + 1) * 2 > this.a.length) this.grow();
    this.size++;
    this.put(a, b, value);
  }

  private put(a: number, b: number, value: number): void {
    let i = (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)) >>> 0;
    i = (i ^ (i >>> 15)) & this.mask;
    while (this.a[i] !== EMPTY) i = (i + 1) & this.mask;
    this.a[i] = a;
    this.b[i] = b;
    this.values[i] = value;
  }

  private grow(): void {
    const { a, b, values } = this;
    this.mask = a.length * 2 - 1;
    this.a = new Int32Array(a.length * 2).fill(EMPTY);
    this.b = new Int32Array(a.length * 2);
    this.values = new Int32Array(a.length * 2);
    for (let i = 0; i < a.length; i++) if (a[i] !== EMPTY) this.put(a[i], b[i], values[i]);
  }
}
