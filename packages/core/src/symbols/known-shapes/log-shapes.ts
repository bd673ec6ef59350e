// struct printk_ringbuffer without a description of it (kernel/printk/printk_ringbuffer.h, since 5.10): two bit counts and three
// arrays, whose entries name each other by ids. A layout is taken when newest and oldest record prove it from all three.
import { type Discovered, isKernelAddress, Peek, type ShapeContext, symbolAddress } from "./peek.ts";
import type { ShapeMember } from "./shape-types.ts";

const ID_MASK = (1n << 62n) - 1n;
const MAX_COUNT_BITS = 26;
const MAX_SIZE_BITS = 31;
/** {state_var; begin; next} */
const DESC_SIZE = 24;
/** struct printk_info: 88 bytes; newer kernels may append what is not known here. */
const INFO_SIZES = [88, 96, 104, 112, 120, 128];
/** Of the text ring inside struct printk_ringbuffer: behind five words, or six with last_finalized_id (5.18) or _seq (6.8). */
const TEXT_RINGS = [40, 48, 56];
/** Records that must bear a layout out. */
const PROOF = 3;
const SAMPLES = 32;

interface Ring {
  readonly descs: bigint;
  readonly infos: bigint;
  readonly count: bigint;
  readonly head: bigint;
  readonly tail: bigint;
}

/** Layouts of the ring's structures; undefined when there is none or it does not prove itself. */
export function discoverLog({ reader, symbols }: ShapeContext): Discovered | undefined {
  const pointer = symbolAddress(symbols, "prb");
  const peek = new Peek(reader);
  const at = pointer === undefined ? undefined : peek.u64(pointer);
  const view = at === undefined || !isKernelAddress(at) ? undefined : peek.upTo(at, 128);
  if (view === undefined || view.byteLength < 96) return undefined;
  const ring = ringOf(view);
  if (ring === undefined) return undefined;
  const found = TEXT_RINGS.map((text) => ({ text, size: proved(peek, view, ring, text) })).find(
    ({ size }) => size !== undefined,
  );
  if (found?.size === undefined) return undefined;
  const descRing: ShapeMember[] = [
    ["count_bits", 0, "unsigned int"],
    ["descs", 8, "void *"],
    ["infos", 16, "void *"],
    ["head_id", 24, "u64"],
    ["tail_id", 32, "u64"],
  ];
  const dataRing: ShapeMember[] = [
    ["size_bits", 0, "unsigned int"],
    ["data", 8, "void *"],
  ];
  const info: ShapeMember[] = [
    ["seq", 0, "u64"],
    ["ts_nsec", 8, "u64"],
    ["text_len", 16, "u16"],
    ["facility", 18, "u8"],
    ["caller_id", 20, "u32"],
    ["dev_info.subsystem", 24, "char[16]"],
    ["dev_info.device", 40, "char[48]"],
  ];
  return {
    shapes: [
      { name: "struct prb_desc_ring", size: found.text, members: descRing },
      { name: "struct prb_data_ring", size: 32, members: dataRing },
      {
        name: "struct printk_ringbuffer",
        members: [
          ["desc_ring", 0, "struct prb_desc_ring"],
          ["text_data_ring", found.text, "struct prb_data_ring"],
        ],
      },
      {
        name: "struct prb_data_blk_lpos",
        size: 16,
        members: [
          ["begin", 0, "u64"],
          ["next", 8, "u64"],
        ],
      },
      {
        name: "struct prb_desc",
        size: DESC_SIZE,
        members: [
          ["state_var", 0, "u64"],
          ["text_blk_lpos", 8, "struct prb_data_blk_lpos"],
        ],
      },
      // The members that every release has; the caller's place is the same with and without CONFIG_PRINTK_CALLER.
      { name: "struct printk_info", size: found.size, members: info },
    ],
    evidence: [
      `printk_ringbuffer: the text ring at +${found.text}, infos of ${found.size} bytes: ids and sequence numbers of ${PROOF} records agree`,
    ],
  };
}

function ringOf(view: DataView): Ring | undefined {
  const countBits = view.getBigUint64(0, true) & 0xffffffffn;
  const [descs, infos] = [view.getBigUint64(8, true), view.getBigUint64(16, true)];
  if (countBits < 1n || countBits > BigInt(MAX_COUNT_BITS) || !isKernelAddress(descs) || !isKernelAddress(infos))
    return undefined;
  const head = view.getBigUint64(24, true) & ID_MASK;
  const tail = view.getBigUint64(32, true) & ID_MASK;
  return { descs, infos, count: 1n << countBits, head, tail };
}

/** Bytes of a struct printk_info, when the text ring lies at `text` and records bear it out. */
function proved(peek: Peek, view: DataView, ring: Ring, text: number): number | undefined {
  const sizeBits = view.getUint32(text, true);
  const data = view.getBigUint64(text + 8, true);
  if (sizeBits < 1 || sizeBits > MAX_SIZE_BITS || !isKernelAddress(data)) return undefined;
  const mask = (1n << BigInt(sizeBits)) - 1n;
  const records: bigint[] = [];
  for (let back = 0n; back < SAMPLES && back < ring.count && records.length <= PROOF; back++) {
    const id = (ring.head - back) & ID_MASK;
    const desc = ring.descs + (id & (ring.count - 1n)) * BigInt(DESC_SIZE);
    const state = peek.u64(desc);
    const begin = peek.u64(desc + 8n);
    if (state === undefined || begin === undefined || (state & ID_MASK) !== id) continue;
    const kind = state >> 62n;
    if (kind !== 1n && kind !== 2n) continue;
    if ((begin & 1n) === 0n && peek.u64(data + (begin & mask)) === id) records.push(id);
  }
  if (records.length < PROOF) return undefined;
  return INFO_SIZES.find((size) => {
    const sequence = (id: bigint) => peek.u64(ring.infos + (id & (ring.count - 1n)) * BigInt(size));
    const first = sequence(records[0]);
    return first !== undefined && records.every((id) => sequence(id) === first - ((records[0] - id) & ID_MASK));
  });
}
