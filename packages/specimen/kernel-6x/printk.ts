// Fills the kernel log: struct printk_ringbuffer as kernel/printk/printk_ringbuffer.c (6.1) leaves it after a few
// records, nothing wrapped around yet.
import { alignUp, ByteWriter, latin1 } from "../bytes.ts";
import type { MemoryImage } from "../machine/memory-image.ts";

const COUNT_BITS = 5n;
const COUNT = 1n << COUNT_BITS;
const SIZE_BITS = 12n;
const SIZE = 1n << SIZE_BITS;
const ID_MASK = (1n << 62n) - 1n;
const FINALIZED = 2n << 62n;
const REUSABLE = 3n << 62n;

/** One line of the log. */
export interface LogLine {
  readonly nanoseconds: bigint;
  readonly level: number;
  readonly text: string;
}

/** @param rb address of the struct printk_ringbuffer */
export function fillLog(m: MemoryImage, rb: bigint, lines: readonly LogLine[]): void {
  const RB = "struct printk_ringbuffer";
  const DESC = m.types.sizeOf("struct prb_desc");
  const INFO = m.types.sizeOf("struct printk_info");
  const descs = m.pages(1);
  const infos = m.pages(Math.ceil((Number(COUNT) * INFO) / 4096));
  const data = m.pages(Number(SIZE) / 4096);
  const firstId = -(COUNT + 1n) & ID_MASK;
  const empty = BigInt.asUintN(64, -SIZE);
  for (let i = 0n; i < COUNT; i++)
    m.set(descs + i * BigInt(DESC), "struct prb_desc", {
      "state_var.counter": i === COUNT - 1n ? REUSABLE | firstId : 0n,
      "text_blk_lpos.begin": 1n,
      "text_blk_lpos.next": 1n,
    });
  let head = empty;
  let id = firstId;
  lines.forEach((line, seq) => {
    id = (id + 1n) & ID_MASK;
    const index = id % COUNT;
    const block = BigInt(alignUp(8 + line.text.length, 8));
    m.set(descs + index * BigInt(DESC), "struct prb_desc", {
      "state_var.counter": FINALIZED | id,
      "text_blk_lpos.begin": head,
      "text_blk_lpos.next": BigInt.asUintN(64, head + block),
    });
    const info = infos + index * BigInt(INFO);
    m.set(info, "struct printk_info", { seq, ts_nsec: line.nanoseconds, text_len: line.text.length, caller_id: 1 });
    // flags:5, level:3 share the byte after facility
    m.u8(info + BigInt(m.types.offset("struct printk_info", "facility")) + 1n, line.level << 5);
    m.write(data + (head % SIZE), new ByteWriter().u64(id).bytes(latin1(line.text)).take());
    head = BigInt.asUintN(64, head + block);
  });
  m.set(rb, RB, {
    "desc_ring.count_bits": COUNT_BITS,
    "desc_ring.descs": descs,
    "desc_ring.infos": infos,
    "desc_ring.head_id.counter": id,
    "desc_ring.tail_id.counter": firstId,
    "desc_ring.last_finalized_id.counter": id,
    "text_data_ring.size_bits": SIZE_BITS,
    "text_data_ring.data": data,
    "text_data_ring.head_lpos.counter": head,
    "text_data_ring.tail_lpos.counter": empty,
    "fail.counter": 0n,
  });
}
