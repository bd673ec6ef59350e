// Damage with a seed: the same number always makes the same broken bytes, so that a failure can be looked at again.

/** xorshift32. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = (seed * 0x9e3779b1) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.below(2);
  }
  /** 0 … n-1 */
  below(n: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return Math.floor((this.state / 2 ** 32) * n);
  }
  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}

/** What counts and pointers must never be believed to be. */
const VALUES = [0n, 1n, 0xffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 32n, 1n << 53n, (1n << 63n) - 1n].concat([
  1n << 63n,
  (1n << 64n) - 1n,
  0xffffffff80000000n,
  0xffff888000000000n,
  0x1000n,
]);

/** Offsets where something other than zeros lies, and where something lies that looks like a kernel's pointer. */
export interface Targets {
  readonly words: readonly number[];
  readonly pointers: readonly number[];
}

export function targetsOf(bytes: Uint8Array): Targets {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const words: number[] = [];
  const pointers: number[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const [low, high] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    if ((low | high) !== 0) words.push(at);
    if (high >= 0xffff8000 && !(high === 0xffffffff && low >= 0xffff0000)) pointers.push(at);
  }
  return { words, pointers };
}

/** A damaged copy: one to four changes of bytes, counts, pointers (also to each other: cycles) and pages, or a cut. */
export function damaged(bytes: Uint8Array, { words, pointers }: Targets, random: Random): Uint8Array {
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.of(words);
    switch (random.below(8)) {
      case 0:
        out[at + random.below(8)] = random.below(256);
        break;
      case 1:
        out[at + random.below(8)] ^= 1 << random.below(8);
        break;
      case 2:
        view.setUint32(at + 4 * random.below(2), Number(BigInt.asUintN(32, random.of(VALUES))), true);
        break;
      case 3:
        view.setBigUint64(at, random.of(VALUES), true);
        break;
      case 4:
      case 5:
        if (pointers.length === 0) break;
        view.setBigUint64(random.of(pointers), view.getBigUint64(random.of(pointers), true), true);
        break;
      case 6:
        out.fill(random.of([0, 0xff, 0xcc]), at & ~0xfff, (at & ~0xfff) + 0x1000);
        break;
      case 7:
        if (random.below(4) === 0) return out.slice(0, random.below(out.length));
        break;
    }
  }
  return out;
}
