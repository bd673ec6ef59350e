// makedumpfile's flattened format, which QEMU always writes for kdump: records "these bytes belong at this offset", meant
// for a pipe. An index of the records makes it a ByteSource of the file that `makedumpfile -R` would write.
import { Cursor } from "../../bytes/cursor.ts";
import { FormatError, TruncatedError, UnsupportedError } from "../../bytes/errors.ts";
import { type ByteSource, checkRange, readInto } from "../../bytes/source.ts";

const HEADER_SIZE = 4096;
const RECORD_HEADER = 16;

interface Records {
  readonly count: number;
  /** Offset in the rearranged file, offset of the data in this one, bytes: three numbers a record, in file order. */
  readonly fields: Float64Array;
}

/**
 * Indexes a flattened file without holding any of its data.
 * @param problems told when the file ends early
 * @throws FormatError for a record with an impossible offset or size, UnsupportedError for another type or version
 */
export function unflatten(source: ByteSource, problems: string[]): ByteSource {
  const c = new Cursor(source.read(0, Math.min(32, source.size)), `${source.name}: flattened header`);
  const view = new DataView(c.takeBytes(32).slice().buffer);
  const [type, version] = [view.getBigInt64(16), view.getBigInt64(24)];
  if (type !== 1n || version !== 1n) {
    throw new UnsupportedError(c.where(16), `a flattened file of type ${type}, version ${version}`);
  }
  const records = readRecords(source, problems);
  if (records.count === 0)
    throw new FormatError(`${source.name}: flattened header`, "a flattened file without records");
  return new FlattenedSource(source, arrange(records));
}

function readRecords(source: ByteSource, problems: string[]): Records {
  const header = new DataView(new ArrayBuffer(RECORD_HEADER));
  const headerBytes = new Uint8Array(header.buffer);
  let fields = new Float64Array(3 * 1024);
  let count = 0;
  let at = HEADER_SIZE;
  for (;;) {
    if (at + RECORD_HEADER > source.size) {
      problems.push(`${source.name}: the flattened file ends at 0x${source.size.toString(16)} without its end mark`);
      break;
    }
    readInto(source, at, headerBytes);
    const [offset, size] = [header.getBigInt64(0), header.getBigInt64(8)];
    if (offset === -1n && size === -1n) break;
    const end = offset + size;
    if (offset < 0n || size < 0n || end > BigInt(Number.MAX_SAFE_INTEGER)) {
      const where = `${source.name}: flattened record at 0x${at.toString(16)}`;
      throw new FormatError(where, `offset ${offset}, size ${size}`);
    }
    at += RECORD_HEADER;
    const there = Math.min(Number(size), source.size - at);
    if (there > 0) {
      if ((count + 1) * 3 > fields.length) {
        const larger = new Float64Array(fields.length * 2);
        larger.set(fields);
        fields = larger;
      }
      fields.set([Number(offset), at, there], count * 3);
      count++;
    }
    at += Number(size);
  }
  return { count, fields };
}

/** Runs of the rearranged file, ascending and apart; where records overlap, the later one was written last. */
function arrange({ count, fields }: Records): { starts: Float64Array; ends: Float64Array; from: Float64Array } {
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => fields[a * 3] - fields[b * 3]);
  const overlaps = order.some((record, i) => {
    const before = order[i - 1];
    return i > 0 && fields[before * 3] + fields[before * 3 + 2] > fields[record * 3];
  });
  if (overlaps) return paint(count, fields);
  return {
    starts: Float64Array.from(order, (i) => fields[i * 3]),
    ends: Float64Array.from(order, (i) => fields[i * 3] + fields[i * 3 + 2]),
    from: Float64Array.from(order, (i) => fields[i * 3 + 1]),
  };
}

/** Overlaps: the space is cut at every border, and from the last record to the first each takes the pieces still free. */
function paint(count: number, fields: Float64Array): ReturnType<typeof arrange> {
  const borders = new Float64Array(count * 2);
  for (let i = 0; i < count; i++) {
    borders[i * 2] = fields[i * 3];
    borders[i * 2 + 1] = fields[i * 3] + fields[i * 3 + 2];
  }
  borders.sort();
  const owner = new Int32Array(borders.length).fill(-1);
  // next[i] leads to the first free piece from i on; paths are halved while they are walked.
  const next = Int32Array.from({ length: borders.length + 1 }, (_, i) => i);
  const free = (i: number) => {
    let at = i;
    while (next[at] !== at) {
      next[at] = next[next[at]];
      at = next[at];
    }
    return at;
  };
  for (let record = count - 1; record >= 0; record--) {
    const start = fields[record * 3];
    const end = start + fields[record * 3 + 2];
    for (let i = free(atOrAfter(borders, start)); i < borders.length && borders[i] < end; i = free(i)) {
      owner[i] = record;
      next[i] = i + 1;
    }
  }
  const pieces = Array.from(owner.keys()).filter((i) => owner[i] >= 0 && borders[i + 1] > borders[i]);
  return {
    starts: Float64Array.from(pieces, (i) => borders[i]),
    ends: Float64Array.from(pieces, (i) => borders[i + 1]),
    from: Float64Array.from(pieces, (i) => fields[owner[i] * 3 + 1] + borders[i] - fields[owner[i] * 3]),
  };
}

/** Index of the first value that is not below `wanted`. */
function atOrAfter(values: Float64Array, wanted: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

class FlattenedSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  private readonly starts: Float64Array;
  private readonly ends: Float64Array;
  private readonly from: Float64Array;
  private last = 0;

  constructor(
    private readonly parent: ByteSource,
    { starts, ends, from }: ReturnType<typeof arrange>,
  ) {
    this.name = parent.name;
    this.size = ends[ends.length - 1];
    this.starts = starts;
    this.ends = ends;
    this.from = from;
  }

  read(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    const i = this.runAt(offset);
    if (offset >= this.starts[i] && offset + length <= this.ends[i]) {
      return this.parent.read(this.from[i] + offset - this.starts[i], length);
    }
    this.checkWhole(i, offset, length);
    const bytes = new Uint8Array(length);
    this.fill(offset, bytes, i);
    return bytes;
  }

  readInto(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    const i = this.runAt(offset);
    this.checkWhole(i, offset, into.length);
    this.fill(offset, into, i);
  }

  /** A gap is an error, not zeros: a lost record must not become data. Nothing is reserved before this holds. */
  private checkWhole(first: number, offset: number, length: number): void {
    const end = offset + length;
    let have = offset;
    for (let i = first; have < end; i++) {
      if (!(i < this.starts.length && this.starts[i] <= have)) {
        throw new TruncatedError(`${this.name}: no flattened record at 0x${have.toString(16)}`, end - have, 0);
      }
      have = this.ends[i];
    }
  }

  private fill(offset: number, into: Uint8Array, first: number): void {
    const end = offset + into.length;
    for (let i = first; i < this.starts.length && this.starts[i] < end; i++) {
      const from = Math.max(offset, this.starts[i]);
      const to = Math.min(end, this.ends[i]);
      readInto(this.parent, this.from[i] + from - this.starts[i], into.subarray(from - offset, to - offset));
    }
  }

  /** Index of the run that holds `offset`, else of the next one. */
  private runAt(offset: number): number {
    const { starts, ends, last } = this;
    if (offset >= starts[last] && offset < ends[last]) return last;
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle] > offset) high = middle;
      else low = middle + 1;
    }
    this.last = low;
    return low;
  }
}
