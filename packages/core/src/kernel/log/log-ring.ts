// struct printk_ringbuffer (kernel/printk/printk_ringbuffer.c, since 5.10): a ring of descriptors, an array of infos beside
// it, and a ring of text blocks, each led by the id of its descriptor. Writers may have been at work when the dump was taken.
import { addressAdd, formatAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { FormatError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";
import { getU16, getU32, getU64 } from "../layouts/little-endian.ts";
import { logOffset, needOffset, needSize, pointerIn } from "./log-layout.ts";
import { Losses, MAX_RECORDS, MAX_TEXT, readLogText } from "./log-text.ts";
import type { KernelLog, LogRecord } from "./log-types.ts";

/** Two bits of a descriptor's state_var are its state, the others its id. */
const ID_MASK = (1n << 62n) - 1n;
const STATE = { reserved: 0, committed: 1, finalized: 2, reusable: 3 };
const isWritten = (state: number): boolean => state === STATE.committed || state === STATE.finalized;
/** Both lpos of a record without text (EMPTY_LINE_LPOS; NO_LPOS before 6.11) and of one whose text was not kept. */
const EMPTY_LPOS = 3n;
/** log_buf_len= takes 2 GiB at most, and there is a descriptor for each 32 bytes of text (PRB_AVGBITS 5). */
const MAX_SIZE_BITS = 31;
const MAX_COUNT_BITS = 26;
/** Descriptors that are read at a time. */
const BATCH = 1024;

interface Ring {
  readonly descs: VirtualAddress;
  readonly infos: VirtualAddress;
  readonly data: VirtualAddress;
  readonly countBits: bigint;
  readonly sizeBits: bigint;
  readonly head: bigint;
  readonly tail: bigint;
}

function readRing(kernel: Kernel): Ring {
  const { memory } = kernel;
  const at = pointerIn(kernel, "prb");
  const member = (outer: string, type: string, name: string) =>
    addressAdd(at, needOffset(kernel, "printk_ringbuffer", outer) + needOffset(kernel, type, name));
  const desc = (name: string) => member("desc_ring", "prb_desc_ring", name);
  const data = (name: string) => member("text_data_ring", "prb_data_ring", name);
  const bits = (address: VirtualAddress, name: string, most: number): bigint => {
    const value = memory.u32(address);
    if (value < 1 || value > most)
      throw new FormatError(`struct printk_ringbuffer at ${formatAddress(at)}`, `${name} ${value}, not 1 to ${most}`);
    return BigInt(value);
  };
  return {
    descs: memory.pointer(desc("descs")),
    infos: memory.pointer(desc("infos")),
    data: memory.pointer(data("data")),
    countBits: bits(desc("count_bits"), "desc_ring.count_bits", MAX_COUNT_BITS),
    sizeBits: bits(data("size_bits"), "text_data_ring.size_bits", MAX_SIZE_BITS),
    head: memory.u64(desc("head_id")) & ID_MASK,
    tail: memory.u64(desc("tail_id")) & ID_MASK,
  };
}

/** @throws MissingError, AddressError, FormatError */
export function readRingLog(kernel: Kernel): KernelLog {
  const ring = readRing(kernel);
  const reader = new RecordReader(kernel, ring);
  const descs = 1 << Number(ring.countBits);
  const count = Number((ring.head - ring.tail) & ID_MASK) + 1;
  if (count > descs || reader.goesOn((ring.head + 1n) & ID_MASK) || reader.goesOn((ring.tail - 1n) & ID_MASK)) {
    // What each descriptor says of itself is then believed.
    reader.losses.tell(
      `the log: head_id 0x${ring.head.toString(16)} and tail_id 0x${ring.tail.toString(16)} are not its ends: all ${descs} descriptors are read`,
    );
    for (let index = 0; index < descs; index += BATCH) reader.batch(undefined, index, Math.min(BATCH, descs - index));
    reader.records.sort((a, b) => Number((a.sequence ?? 0n) - (b.sequence ?? 0n)));
  } else {
    for (let done = 0; done < count; ) {
      const first = (ring.tail + BigInt(done)) & ID_MASK;
      const index = Number(first & BigInt(descs - 1));
      // A batch ends where the array does.
      const batch = Math.min(BATCH, count - done, descs - index);
      reader.batch(first, index, batch);
      done += batch;
    }
  }
  return {
    kind: "printk_ringbuffer",
    address: ring.data,
    size: 2 ** Number(ring.sizeBits),
    records: reader.records,
    complete: !reader.losses.any,
    problems: [...reader.losses.lines, ...reader.remarks.lines],
  };
}

class RecordReader {
  readonly records: LogRecord[] = [];
  readonly losses = new Losses();
  /** What is no fault of the dump. */
  readonly remarks = new Losses();
  private readonly desc;
  private readonly info;
  private readonly dataSize: bigint;
  /** Bytes of text that may still be read: blocks do not overlap, so there are no more than the ring has. */
  private textLeft: number;

  constructor(
    private readonly kernel: Kernel,
    private readonly ring: Ring,
  ) {
    const lpos = needOffset(kernel, "prb_desc", "text_blk_lpos");
    this.desc = {
      size: needSize(kernel, "prb_desc"),
      state: needOffset(kernel, "prb_desc", "state_var"),
      begin: lpos + needOffset(kernel, "prb_data_blk_lpos", "begin"),
      next: lpos + needOffset(kernel, "prb_data_blk_lpos", "next"),
    };
    const device = logOffset(kernel, "printk_info", "dev_info");
    this.info = {
      size: needSize(kernel, "printk_info"),
      sequence: needOffset(kernel, "printk_info", "seq"),
      time: needOffset(kernel, "printk_info", "ts_nsec"),
      length: needOffset(kernel, "printk_info", "text_len"),
      caller: logOffset(kernel, "printk_info", "caller_id"),
      comm: kernel.structures.find("struct printk_info", "comm"),
      subsystem: device === undefined ? undefined : kernel.structures.find("struct printk_info", "dev_info.subsystem"),
      device: device === undefined ? undefined : kernel.structures.find("struct printk_info", "dev_info.device"),
    };
    this.dataSize = 1n << ring.sizeBits;
    this.textLeft = Math.min(Number(this.dataSize), MAX_TEXT);
  }

  /** A record of that id is there, with its text. */
  goesOn(id: bigint): boolean {
    const index = Number(id & ((1n << this.ring.countBits) - 1n));
    const bytes = this.kernel.memory.tryRead(addressAdd(this.ring.descs, index * this.desc.size), this.desc.size);
    const state = bytes === undefined ? 0n : getU64(bytes, this.desc.state);
    return (state & ID_MASK) === id && isWritten(Number(state >> 62n));
  }

  /**
   * `count` descriptors from `index` on.
   * @param first the id that the first of them should have; undefined when the ring's ends are not known
   */
  batch(first: bigint | undefined, index: number, count: number): void {
    const descs = this.present(addressAdd(this.ring.descs, index * this.desc.size), count * this.desc.size);
    if (descs === undefined) {
      this.losses.add("records whose descriptors are not in the dump", count);
      return;
    }
    const infos = this.present(addressAdd(this.ring.infos, index * this.info.size), count * this.info.size);
    const mask = first === undefined ? (1n << this.ring.countBits) - 1n : ID_MASK;
    for (let i = 0; i < count; i++) {
      const at = i * this.desc.size;
      if (descs.lacks(at, this.desc.size)) {
        this.losses.add("records whose descriptors are not in the dump");
        continue;
      }
      const state = getU64(descs.bytes, at + this.desc.state);
      const kind = Number(state >> 62n);
      const id = state & ID_MASK;
      if (kind === STATE.reusable || (first === undefined && state === 0n)) continue;
      const expected = first === undefined ? BigInt(index + i) : (first + BigInt(i)) & ID_MASK;
      // A descriptor that was never used before is all zeros until its writer has marked it.
      if ((id & mask) !== expected && state !== 0n) {
        this.losses.add("descriptors with the id of another record");
        continue;
      }
      if (!isWritten(kind)) {
        this.remarks.add("records that were being written");
        continue;
      }
      const from = i * this.info.size;
      if (infos === undefined || infos.lacks(from, this.info.size)) {
        this.losses.add("records whose infos are not in the dump");
        continue;
      }
      this.record(id, descs.bytes.subarray(at), infos.bytes.subarray(from, from + this.info.size));
    }
  }

  private record(id: bigint, desc: Uint8Array, info: Uint8Array): void {
    const text = this.text(
      id,
      getU64(desc, this.desc.begin),
      getU64(desc, this.desc.next),
      getU16(info, this.info.length),
    );
    if (text === undefined) return;
    if (this.records.length >= MAX_RECORDS) {
      this.losses.add(`records beyond the first ${MAX_RECORDS}`);
      return;
    }
    // facility, then flags:5 and level:3 in one byte, follow text_len in every release.
    const packed = this.info.length + 2;
    const optional = (key: "subsystem" | "device" | "comm"): { [K in typeof key]?: string } => {
      const member = this.info[key];
      const value = member && latin1(info.subarray(member.offset, member.offset + member.size));
      return value ? { [key]: value } : {};
    };
    this.records.push({
      sequence: getU64(info, this.info.sequence),
      nanoseconds: getU64(info, this.info.time),
      level: info[packed + 1] >> 5,
      facility: info[packed],
      caller: this.info.caller === undefined ? undefined : getU32(info, this.info.caller),
      text,
      continues: false,
      ...optional("subsystem"),
      ...optional("device"),
      ...optional("comm"),
    });
  }

  /** The text of a block; undefined, and told, when it is no longer there. */
  private text(id: bigint, begin: bigint, next: bigint, length: number): string | undefined {
    if ((begin & 1n) === 1n && (next & 1n) === 1n) {
      if (begin === EMPTY_LPOS && next === EMPTY_LPOS) return "";
      this.remarks.add("records whose text the kernel did not keep");
      return undefined;
    }
    const wrap = (lpos: bigint): bigint => (lpos & ((1n << 64n) - 1n)) >> this.ring.sizeBits;
    let start = begin & (this.dataSize - 1n);
    let size = (next - begin) & ((1n << 64n) - 1n);
    // A block that does not fit behind the one before starts over at the ring's first byte; `begin` stays where it was.
    if (size > 0n && wrap(begin) !== wrap(next - 1n)) {
      start = 0n;
      size = wrap(begin + this.dataSize) === wrap(next - 1n) ? next & (this.dataSize - 1n) : 0n;
    }
    if (size < 8n || size > this.dataSize || (begin & 7n) !== 0n || (next & 7n) !== 0n) {
      this.losses.add("records with an impossible text block");
      return undefined;
    }
    const { memory } = this.kernel;
    const at = addressAdd(this.ring.data, start);
    const owner = memory.tryRead(at, 8);
    if (owner !== undefined && getU64(owner, 0) !== id) {
      this.losses.add("records whose text block belongs to another");
      return undefined;
    }
    // The writer reserves what it may need and fills less; where text_len says more, the block is the limit.
    const bytes = Math.min(length, Number(size - 8n));
    if (bytes > this.textLeft) {
      this.losses.add("records with more text than the buffer has");
      return undefined;
    }
    this.textLeft -= bytes;
    const { text, absent } = readLogText(memory, addressAdd(at, 8), bytes);
    if (absent > 0) this.losses.add("bytes of text that are not in the dump", absent);
    return text;
  }

  private present(address: VirtualAddress, length: number) {
    const bytes = new Uint8Array(length);
    const absent: { readonly start: number; readonly end: number }[] = [];
    let gone = 0;
    this.kernel.memory.readPresent(virtualAddress(address), bytes, (offset, run) => {
      absent.push({ start: offset, end: offset + run });
      gone += run;
    });
    if (gone === length) return undefined;
    const lacks = (at: number, size: number): boolean => absent.some(({ start, end }) => at < end && at + size > start);
    return { bytes, lacks };
  }
}

function latin1(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
}
