// The specimen's RAM: a sparse set of pages and a bump allocator. What was never written is not in the dump.

export const PAGE = 4096;

export class Ram {
  /** page frame number → content */
  readonly pages = new Map<number, Uint8Array>();
  private next: number;

  /** @param firstFree physical address from which `allocate` hands out pages */
  constructor(firstFree: number) {
    this.next = firstFree / PAGE;
  }

  page(pfn: number): Uint8Array {
    let page = this.pages.get(pfn);
    if (page === undefined) {
      page = new Uint8Array(PAGE);
      this.pages.set(pfn, page);
    }
    return page;
  }

  /** Physical address of `count` fresh, zeroed pages in a row, aligned to `align` pages. */
  allocate(count = 1, align = 1): number {
    const at = Math.ceil(this.next / align) * align;
    this.next = at;
    this.next += count;
    for (let i = 0; i < count; i++) this.page(at + i);
    return at * PAGE;
  }

  /** Leaves a page out, so that what is allocated next is not adjacent. */
  skip(): void {
    this.next += 1;
  }

  write(address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = address + done;
      const part = bytes.subarray(done, done + PAGE - (at % PAGE));
      this.page(Math.floor(at / PAGE)).set(part, at % PAGE);
      done += part.length;
    }
  }

  read(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = address + done;
      const part = Math.min(length - done, PAGE - (at % PAGE));
      out.set(this.page(Math.floor(at / PAGE)).subarray(at % PAGE, (at % PAGE) + part), done);
      done += part;
    }
    return out;
  }

  /** Runs of pages: [first pfn, count], ascending. */
  runs(): [number, number][] {
    const out: [number, number][] = [];
    for (const pfn of [...this.pages.keys()].sort((a, b) => a - b)) {
      const last = out[out.length - 1];
      if (last && last[0] + last[1] === pfn) last[1] += 1;
      else out.push([pfn, 1]);
    }
    return out;
  }
}

/** A small deterministic generator (xorshift32), for memory whose content is nobody's business. */
export function noise(length: number, seed: number): Uint8Array {
  const out = new Uint8Array(length);
  let x = seed | 1;
  for (let i = 0; i < length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x & 0xff;
  }
  return out;
}
