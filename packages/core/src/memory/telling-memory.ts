// A page whose bytes in the file are broken is missed by whoever reads it, and every reader has its own way to go on. So it is
// told where it is read: once, with frame and file offset, whatever command asked.
import type { PhysicalAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Dump, PhysicalMemory } from "./types.ts";

/** Broken pages that are told one by one; the others are counted. */
const LISTED = 8;

class TellingMemory implements PhysicalMemory {
  private readonly told = new Set<string>();

  constructor(private readonly inner: PhysicalMemory) {}

  get ranges() {
    return this.inner.ranges;
  }

  get held() {
    return this.inner.held;
  }

  page(pfn: number): Uint8Array | undefined {
    try {
      return this.inner.page(pfn);
    } catch (error) {
      this.tell(error);
      throw error;
    }
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    try {
      this.inner.read(address, into, absent);
    } catch (error) {
      this.tell(error);
      throw error;
    }
  }

  private tell(error: unknown): void {
    if (error instanceof PalimpsestError) this.told.add(error.message);
  }

  get count(): number {
    return this.told.size;
  }

  lines(): string[] {
    const all = [...this.told];
    const rest = all.length - LISTED;
    return rest <= 0 ? all : [...all.slice(0, LISTED), `${rest} more pages of the dump cannot be read either`];
  }
}

/** The dump, which tells of each page that turned out to be broken: `problems` grows, `incomplete` becomes true. */
export function telling(dump: Dump): Dump {
  const memory = new TellingMemory(dump.physical);
  return Object.create(dump, {
    physical: { value: memory, enumerable: true },
    problems: { get: () => [...dump.problems, ...memory.lines()], enumerable: true },
    incomplete: { get: () => dump.incomplete || memory.count > 0, enumerable: true },
  });
}
