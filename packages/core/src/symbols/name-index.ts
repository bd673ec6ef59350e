// A hash table from names to numbers, where names are NUL-terminated bytes inside a string section: no JavaScript
// string is made for the 30,000 names that nobody asks for.
const utf8 = new TextEncoder();

export class NameIndex {
  private heads = new Int32Array(16384).fill(-1);
  private starts = new Int32Array(8192);
  private hashes = new Int32Array(8192);
  private values = new Int32Array(8192);
  private next = new Int32Array(8192);
  private count = 0;

  /** @param strings the string section; ends with NUL */
  constructor(private readonly strings: Uint8Array) {}

  /** Enters the name that starts at `start` of the string section. */
  add(start: number, value: number): void {
    if (this.count === this.starts.length) this.grow();
    const { strings } = this;
    let hash = 0;
    for (let i = start; i < strings.length && strings[i] !== 0; i++) hash = (Math.imul(hash, 31) + strings[i]) | 0;
    const row = this.count++;
    this.starts[row] = start;
    this.hashes[row] = hash;
    this.values[row] = value;
    this.link(row);
  }

  /** Values of that name, in the order in which they were added. */
  rows(name: string): number[] {
    const wanted = utf8.encode(name);
    let hash = 0;
    for (const byte of wanted) hash = (Math.imul(hash, 31) + byte) | 0;
    const out: number[] = [];
    for (let row = this.heads[this.slot(hash)]; row >= 0; row = this.next[row]) {
      if (this.hashes[row] === hash && this.same(this.starts[row], wanted)) out.push(this.values[row]);
    }
    return out.reverse();
  }

  private same(start: number, wanted: Uint8Array): boolean {
    for (let i = 0; i < wanted.length; i++) if (this.strings[start + i] !== wanted[i]) return false;
    return this.strings[start + wanted.length] === 0;
  }

  private slot(hash: number): number {
    return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 8) & (this.heads.length - 1);
  }

  private link(row: number): void {
    const slot = this.slot(this.hashes[row]);
    this.next[row] = this.heads[slot];
    this.heads[slot] = row;
  }

  private grow(): void {
    const wider = (old: Int32Array) => {
      const out = new Int32Array(old.length * 2);
      out.set(old);
      return out;
    };
    this.starts = wider(this.starts);
    this.hashes = wider(this.hashes);
    this.values = wider(this.values);
    this.next = wider(this.next);
    this.heads = new Int32Array(this.heads.length * 2).fill(-1);
    for (let row = 0; row < this.count; row++) this.link(row);
  }
}
