// Physical memory that lies uncompressed in a file, in runs of any length: ELF vmcores and Xen cores. Bulk reads go
// straight from the file into the caller's buffer. Runs that are packed (snappy-chunks.ts) share the way to them.
import type { PhysicalAddress } from "../../bytes/brand.ts";
import { physicalAddress } from "../../bytes/brand.ts";
import { type ByteSource, readInto } from "../../bytes/source.ts";
import { PAGE_SIZE, type PhysicalMemory, type PhysicalRange } from "../types.ts";

/** [physical, physical+length) lies in the file at `offset`. Numbers: x86-64 has at most 52 physical address bits. */
export interface FileRun {
  readonly physical: number;
  readonly offset: number;
  readonly length: number;
}

/** First physical address that no x86-64 machine can have (MAXPHYADDR is at most 52). */
export const PHYSICAL_LIMIT = 2 ** 52;

/** Sorts runs, cuts what an earlier one already holds (elf-paging maps one page thousands of times), joins neighbours. */
export function mergeRuns(runs: readonly FileRun[]): FileRun[] {
  const sorted = [...runs].sort((a, b) => a.physical - b.physical);
  const out: FileRun[] = [];
  let end = 0;
  for (const run of sorted) {
    const cut = Math.max(0, end - run.physical);
    if (cut >= run.length) continue;
    const physical = run.physical + cut;
    const offset = run.offset + cut;
    const length = run.length - cut;
    const last = out[out.length - 1];
    if (last !== undefined && last.physical + last.length === physical && last.offset + last.length === offset) {
      out[out.length - 1] = { ...last, length: last.length + length };
    } else {
      out.push({ physical, offset, length });
    }
    end = physical + length;
  }
  return out;
}

/** Runs that claim the same bytes of the file for different physical memory: which of them is right, nobody can tell. */
export interface SharedBytes {
  readonly first: FileRun;
  readonly second: FileRun;
  /** those two and all others */
  readonly disputed: ReadonlySet<FileRun>;
}

/** Which runs share bytes of the file; undefined when none do, as it should be. */
export function sharedBytes(runs: readonly FileRun[]): SharedBytes | undefined {
  const sorted = [...runs].sort((a, b) => a.offset - b.offset || a.physical - b.physical);
  const disputed = new Set<FileRun>();
  let pair: { readonly first: FileRun; readonly second: FileRun } | undefined;
  let widest: FileRun | undefined;
  for (const run of sorted) {
    const overlaps = widest !== undefined && run.offset < widest.offset + widest.length;
    // One mapped page is told a thousand times, at the same distance.
    if (widest !== undefined && overlaps && run.physical - run.offset !== widest.physical - widest.offset) {
      pair ??= { first: widest, second: run };
      disputed.add(widest).add(run);
    }
    if (widest === undefined || run.offset + run.length > widest.offset + widest.length) widest = run;
  }
  return pair && { ...pair, disputed };
}

/** The ranges of runs that are sorted and do not overlap. */
export function rangesOf(runs: readonly { physical: number; length: number }[]): PhysicalRange[] {
  const ranges: PhysicalRange[] = [];
  let start = 0;
  let end = -1;
  for (const run of runs) {
    if (run.physical === end) {
      end += run.length;
      continue;
    }
    if (end > start) ranges.push({ start: physicalAddress(BigInt(start)), length: BigInt(end - start) });
    start = run.physical;
    end = run.physical + run.length;
  }
  if (end > start) ranges.push({ start: physicalAddress(BigInt(start)), length: BigInt(end - start) });
  return ranges;
}

/** PhysicalMemory over runs whose bytes a subclass brings. */
export abstract class RunMemory implements PhysicalMemory {
  readonly ranges: readonly PhysicalRange[];
  protected readonly starts: Float64Array;
  protected readonly lengths: Float64Array;
  protected readonly offsets: Float64Array;
  private last = 0;

  /** @param runs ascending, none over another */
  constructor(runs: readonly FileRun[]) {
    this.ranges = rangesOf(runs);
    this.starts = Float64Array.from(runs, (run) => run.physical);
    this.lengths = Float64Array.from(runs, (run) => run.length);
    this.offsets = Float64Array.from(runs, (run) => run.offset);
  }

  /** A page that lies in run `index` as a whole, `inside` bytes behind its start. */
  protected abstract lend(index: number, inside: number): Uint8Array;
  /** Copies from run `index`, `inside` bytes behind its start; `into` does not go past its end. */
  protected abstract fill(index: number, inside: number, into: Uint8Array): void;

  page(pfn: number): Uint8Array | undefined {
    const address = pfn * PAGE_SIZE;
    const index = this.runAt(address);
    if (index < 0) return undefined;
    const inside = address - this.starts[index];
    if (inside >= 0 && inside + PAGE_SIZE <= this.lengths[index]) return this.lend(index, inside);
    // A page that two runs share, or that a run holds only in part: whole or not at all.
    const bytes = new Uint8Array(PAGE_SIZE);
    let whole = true;
    this.copy(address, bytes, () => {
      whole = false;
    });
    return whole ? bytes : undefined;
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    this.copy(Number(address), into, absent);
  }

  private copy(address: number, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    let done = 0;
    let missing = 0;
    const report = () => {
      if (missing > 0) absent(done - missing, missing);
      missing = 0;
    };
    while (done < into.length) {
      const at = address + done;
      const index = this.runAt(at);
      if (index >= 0 && at >= this.starts[index]) {
        report();
        const inside = at - this.starts[index];
        const length = Math.min(into.length - done, this.lengths[index] - inside);
        this.fill(index, inside, into.subarray(done, done + length));
        done += length;
      } else {
        const gap = index < 0 ? Number.POSITIVE_INFINITY : this.starts[index] - at;
        const length = Math.min(into.length - done, gap);
        into.fill(0, done, done + length);
        missing += length;
        done += length;
      }
    }
    report();
  }

  /** The run that holds `address`, else the first one after it, else -1. */
  private runAt(address: number): number {
    const { starts, lengths } = this;
    if (address >= starts[this.last] && address < starts[this.last] + lengths[this.last]) return this.last;
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle] + lengths[middle] > address) high = middle;
      else low = middle + 1;
    }
    if (low === starts.length) return -1;
    this.last = low;
    return low;
  }
}

/** PhysicalMemory over runs of a file. Every run must lie inside the source. */
export class FileRunMemory extends RunMemory {
  constructor(
    private readonly source: ByteSource,
    runs: readonly FileRun[],
  ) {
    super(mergeRuns(runs));
  }

  protected lend(index: number, inside: number): Uint8Array {
    return this.source.read(this.offsets[index] + inside, PAGE_SIZE);
  }

  protected fill(index: number, inside: number, into: Uint8Array): void {
    readInto(this.source, this.offsets[index] + inside, into);
  }
}
