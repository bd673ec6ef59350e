// The VMCOREINFO text of a 6.1 kernel (kernel/crash_core.c, arch/x86/kernel/crash_core_64.c): the keys that tell
// where things are and how big they are.

import type { Running } from "../machine/running.ts";
import { BUILD_ID, RELEASE } from "./data.ts";

const SYMBOLS = ["init_uts_ns", "swapper_pg_dir", "_stext", "prb", "printk_rb_static"];
const KALLSYMS = ["names", "num_syms", "token_table", "token_index", "offsets", "relative_base"];
const SIZES = ["list_head", "printk_ringbuffer", "prb_desc_ring", "prb_desc", "prb_data_blk_lpos", "printk_info"];
const OFFSETS = [
  "uts_namespace.name",
  "list_head.next",
  "list_head.prev",
  "printk_ringbuffer.desc_ring",
  "printk_ringbuffer.text_data_ring",
  "printk_ringbuffer.fail",
  "prb_desc_ring.count_bits",
  "prb_desc_ring.descs",
  "prb_desc_ring.infos",
  "prb_desc_ring.head_id",
  "prb_desc_ring.tail_id",
  "prb_desc.state_var",
  "prb_desc.text_blk_lpos",
  "prb_data_blk_lpos.begin",
  "prb_data_blk_lpos.next",
  "printk_info.seq",
  "printk_info.ts_nsec",
  "printk_info.text_len",
  "printk_info.caller_id",
  "printk_info.dev_info",
  "prb_data_ring.size_bits",
  "prb_data_ring.data",
  "prb_data_ring.head_lpos",
  "prb_data_ring.tail_lpos",
];

export function vmcoreinfoText(r: Running, kaslrOffset: bigint, physBase: bigint): string {
  const lines = [`OSRELEASE=${RELEASE}`, `BUILD-ID=${BUILD_ID}`, "PAGESIZE=4096"];
  const hex = (v: bigint) => v.toString(16);
  for (const s of SYMBOLS) lines.push(`SYMBOL(${s})=${hex(r.at(s))}`);
  for (const s of SIZES) lines.push(`SIZE(${s})=${r.types.sizeOf(`struct ${s}`)}`);
  for (const path of OFFSETS) {
    const [type, member] = path.split(".");
    lines.push(`OFFSET(${path})=${r.types.offset(`struct ${type}`, member)}`);
  }
  lines.push(
    "SIZE(atomic_long_t)=8",
    "OFFSET(atomic_long_t.counter)=0",
    "NUMBER(PG_lru)=4",
    "NUMBER(PG_head_mask)=65536",
  );
  for (const s of KALLSYMS) lines.push(`SYMBOL(kallsyms_${s})=${hex(r.at(`kallsyms_${s}`))}`);
  lines.push(`NUMBER(phys_base)=${physBase}`, `SYMBOL(init_top_pgt)=${hex(r.at("init_top_pgt"))}`);
  lines.push("NUMBER(pgtable_l5_enabled)=0", `KERNELOFFSET=${hex(kaslrOffset)}`);
  lines.push("NUMBER(KERNEL_IMAGE_SIZE)=1073741824", "NUMBER(sme_mask)=0");
  return `${lines.join("\n")}\n`;
}
