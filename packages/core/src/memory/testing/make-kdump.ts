// Small made-up kdump-compressed and flattened files for the tests of this room and of the rooms above it.
import { zlibSync } from "fflate";
import { ascii, concat } from "./make-elf.ts";

const PAGE = 4096;

export interface KdumpPlan {
  /** Page frame → its 4,096 bytes. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
  /** Frames that exist but are not in the dump. */
  readonly filtered?: readonly number[];
  readonly maxFrame: number;
  readonly version?: number;
  readonly status?: number;
  readonly pack?: (page: Uint8Array, frame: number) => { bytes: Uint8Array; flags: number };
  readonly machine?: string;
  readonly release?: string;
  readonly blockSize?: number;
  readonly notes?: Uint8Array;
  readonly vmcoreinfo?: string;
  readonly split?: readonly [number, number];
  /** One bitmap for both, as the first versions wrote. */
  readonly single?: boolean;
  /** Writes over the finished file. */
  readonly spoil?: (view: DataView, at: { bitmaps: number; descriptors: number; data: number }) => void;
}

export const zlibPage = (page: Uint8Array) => ({ bytes: zlibSync(page), flags: 1 });
export const rawPage = (page: Uint8Array) => ({ bytes: page, flags: 0 });

/** A kdump-compressed file of these pages. */
export function makeKdump(plan: KdumpPlan): Uint8Array {
  const { pages, maxFrame, version = 6, pack = zlibPage, filtered = [], single = false } = plan;
  const frames = [...pages.keys()].sort((a, b) => a - b);
  const half = Math.ceil(Math.ceil(maxFrame / 8) / PAGE);
  const bitmapBlocks = single ? half : 2 * half;
  const notes = plan.notes ?? new Uint8Array();
  const vmcoreinfo = ascii(plan.vmcoreinfo ?? "");
  const subBlocks = 1 + Math.ceil((104 + notes.length + vmcoreinfo.length) / PAGE);
  const bitmaps = (1 + subBlocks) * PAGE;
  const descriptors = bitmaps + bitmapBlocks * PAGE;
  const split = plan.split ?? [0, maxFrame];
  const written = frames.filter((frame) => frame >= split[0] && frame < split[1]);
  const data = descriptors + written.length * 24;

  const head = new Uint8Array(data);
  const view = new DataView(head.buffer);
  head.set(ascii("KDUMP   "));
  view.setInt32(8, version, true);
  head.set(ascii(plan.release ?? ""), 12 + 2 * 65);
  head.set(ascii(plan.machine ?? "x86_64"), 12 + 4 * 65);
  view.setUint32(424, plan.status ?? 1, true);
  view.setUint32(428, plan.blockSize ?? PAGE, true);
  view.setUint32(432, subBlocks, true);
  view.setUint32(436, bitmapBlocks, true);
  view.setUint32(440, maxFrame, true);
  view.setBigUint64(PAGE, 0x1000000n, true);
  view.setInt32(PAGE + 8, 31, true);
  view.setInt32(PAGE + 12, plan.split ? 1 : 0, true);
  view.setBigUint64(PAGE + 16, BigInt(split[0]), true);
  view.setBigUint64(PAGE + 24, BigInt(split[1]), true);
  const notesAt = PAGE + 104;
  if (vmcoreinfo.length > 0) {
    view.setBigUint64(PAGE + 32, BigInt(notesAt + notes.length), true);
    view.setBigUint64(PAGE + 40, BigInt(vmcoreinfo.length), true);
  }
  if (notes.length > 0) {
    view.setBigUint64(PAGE + 48, BigInt(notesAt), true);
    view.setBigUint64(PAGE + 56, BigInt(notes.length), true);
  }
  if (version >= 6) {
    view.setBigUint64(PAGE + 80, BigInt(split[0]), true);
    view.setBigUint64(PAGE + 88, BigInt(split[1]), true);
    view.setBigUint64(PAGE + 96, BigInt(maxFrame), true);
  }
  head.set(notes, notesAt);
  head.set(vmcoreinfo, notesAt + notes.length);
  const setBit = (at: number, frame: number) => {
    head[at + (frame >>> 3)] |= 1 << (frame & 7);
  };
  for (const frame of frames) {
    setBit(bitmaps, frame);
    if (!single) setBit(bitmaps + half * PAGE, frame);
  }
  if (!single) for (const frame of filtered) setBit(bitmaps, frame);
  const parts: Uint8Array[] = [head];
  let offset = data;
  written.forEach((frame, i) => {
    const { bytes, flags } = pack(pages.get(frame) ?? new Uint8Array(PAGE), frame);
    view.setBigUint64(descriptors + i * 24, BigInt(offset), true);
    view.setUint32(descriptors + i * 24 + 8, bytes.length, true);
    view.setUint32(descriptors + i * 24 + 12, flags, true);
    parts.push(bytes);
    offset += bytes.length;
  });
  const out = concat(parts);
  plan.spoil?.(new DataView(out.buffer), { bitmaps, descriptors, data });
  return out;
}

export interface FlatRecord {
  readonly offset: bigint;
  readonly bytes: Uint8Array;
  /** What the record claims, when not the truth. */
  readonly size?: bigint;
}

/** A flattened file of these records; `end` adds the end mark. */
export function makeFlattened(records: readonly FlatRecord[], end = true): Uint8Array {
  const head = new Uint8Array(PAGE);
  head.set(ascii("makedumpfile"));
  new DataView(head.buffer).setBigInt64(16, 1n);
  new DataView(head.buffer).setBigInt64(24, 1n);
  const record = (offset: bigint, size: bigint) => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setBigInt64(0, offset);
    new DataView(bytes.buffer).setBigInt64(8, size);
    return bytes;
  };
  const parts = records.flatMap(({ offset, bytes, size }) => [record(offset, size ?? BigInt(bytes.length)), bytes]);
  return concat([head, ...parts, ...(end ? [record(-1n, -1n)] : [])]);
}

/** Cuts a file into records of `size` bytes, the second half of them written first. */
export function flatten(file: Uint8Array, size: number): Uint8Array {
  const records: FlatRecord[] = [];
  for (let at = 0; at < file.length; at += size) {
    records.push({ offset: BigInt(at), bytes: file.subarray(at, Math.min(file.length, at + size)) });
  }
  const middle = records.length >> 1;
  return makeFlattened([...records.slice(middle), ...records.slice(0, middle)]);
}
