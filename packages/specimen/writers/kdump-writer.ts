// Writes RAM as a kdump-compressed file of header version 6, zlib pages (makedumpfile's diskdump_mod.h; QEMU's
// include/sysemu/dump.h), and flattens it as QEMU and `makedumpfile -F` do.
import { deflateSync } from "node:zlib";
import { alignUp, ByteWriter } from "../bytes.ts";
import type { Ram } from "../machine/physical.ts";

const BLOCK = 4096;
const ZLIB = 1;
const SUB_HEADER = 104;

export interface KdumpInput {
  readonly ram: Ram;
  readonly notes: Uint8Array;
  /** where in `notes` the VMCOREINFO text lies; both 0 without one */
  readonly vmcoreinfo: { readonly offset: number; readonly length: number };
  readonly release: string;
  readonly physBase: bigint;
  readonly cpus: number;
}

function bitmap(pfns: readonly number[], bytes: number): Uint8Array {
  const map = new Uint8Array(bytes);
  for (const pfn of pfns) map[pfn >> 3] |= 1 << (pfn & 7);
  return map;
}

export function writeKdump(input: KdumpInput): Uint8Array {
  const pfns = [...input.ram.pages.keys()].sort((a, b) => a - b);
  const frames = pfns[pfns.length - 1] + 1;
  const mapSize = alignUp(Math.ceil(frames / 8), BLOCK);
  const subBlocks = Math.ceil((SUB_HEADER + input.notes.length) / BLOCK);
  const notesAt = BLOCK + SUB_HEADER;
  const w = new ByteWriter().text("KDUMP   ").u32(6);
  for (const text of ["Linux", "scriptorium", input.release, "", "x86_64", ""]) w.field(text, 65);
  w.zeros(424 - w.length)
    .u32(ZLIB)
    .u32(BLOCK)
    .u32(subBlocks)
    .u32((2 * mapSize) / BLOCK)
    .u32(frames);
  w.u32(0)
    .u32(0)
    .u32(0)
    .u32(0)
    .u32(input.cpus)
    .zeros(BLOCK - w.length);
  const info = input.vmcoreinfo;
  w.u64(BigInt.asUintN(64, input.physBase)).u32(1).u32(0).u64(0).u64(0);
  w.u64(info.length ? notesAt + info.offset : 0)
    .u64(info.length)
    .u64(notesAt)
    .u64(input.notes.length);
  w.u64(0).u64(0).u64(0).u64(0).u64(frames).bytes(input.notes).align(BLOCK);
  const map = bitmap(pfns, mapSize);
  w.bytes(map).bytes(map);
  const descriptors = w.length;
  w.zeros(24 * pfns.length);
  let zeroPage: { readonly at: number; readonly size: number } | undefined;
  pfns.forEach((pfn, i) => {
    const page = input.ram.page(pfn);
    const packed = deflateSync(page, { level: 1 });
    const stored = packed.length < BLOCK ? packed : page;
    // All pages of zeros share one copy.
    const zero = page.every((b) => b === 0);
    const at = zero && zeroPage ? zeroPage.at : w.length;
    if (at === w.length) w.bytes(stored);
    if (zero) zeroPage = { at, size: stored.length };
    const d = new ByteWriter()
      .u64(at)
      .u32(stored.length)
      .u32(stored === packed ? ZLIB : 0)
      .u64(0);
    w.patch(descriptors + 24 * i, d.take());
  });
  return w.take();
}

const RECORD = 1 << 16;

/** The flattened form: a 4 KiB header, then {s64 offset, s64 size} big-endian before each piece, ended by -1, -1. */
export function flatten(file: Uint8Array): Uint8Array {
  const big = (...values: bigint[]): Uint8Array => {
    const out = new DataView(new ArrayBuffer(8 * values.length));
    values.forEach((v, i) => {
      out.setBigInt64(8 * i, v);
    });
    return new Uint8Array(out.buffer);
  };
  const w = new ByteWriter().field("makedumpfile", 16).bytes(big(1n, 1n));
  w.zeros(4096 - w.length);
  for (let at = 0; at < file.length; at += RECORD) {
    const piece = file.subarray(at, at + RECORD);
    w.bytes(big(BigInt(at), BigInt(piece.length))).bytes(piece);
  }
  return w.bytes(big(-1n, -1n)).take();
}
