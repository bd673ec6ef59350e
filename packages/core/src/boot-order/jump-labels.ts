// Branches that the built code does not show: a jump label is a NOP or a jump as built, and the other one later.
// __jump_table tells where it leads (include/linux/jump_label.h).
import { type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { LinkImage } from "./link-image.ts";

/** struct jump_entry {s32 code, s32 target, s64 key}, relative to their own places: since 4.19 (50ff18ab497a). */
const RELATIVE_ENTRY = 16;
/** struct jump_entry {u64 code, u64 target, u64 key}: until then */
const ABSOLUTE_ENTRY = 24;

/** Where the jump label at a place leads when it is a jump: place → target. Empty for kernels without the table. */
export function jumpLabels(image: LinkImage): ReadonlyMap<KernelOffset, KernelOffset> {
  const section = image.sections.find(({ name }) => name === "__jump_table");
  const start = section?.start ?? image.find("__start___jump_table");
  const end = section?.end ?? image.find("__stop___jump_table");
  if (start === undefined || end === undefined) return new Map();
  const isCode = (at: KernelOffset) => image.section(at)?.isCode === true;
  const relative = new Map<KernelOffset, KernelOffset>();
  for (let at = start; at + RELATIVE_ENTRY <= end; at += RELATIVE_ENTRY) {
    const code = image.relative(at);
    // One wrong entry tells that the table is of the other form.
    if (!isCode(code)) return absoluteLabels(image, start, end);
    relative.set(code, image.relative(at + 4));
  }
  return relative;
}

function absoluteLabels(
  image: LinkImage,
  start: KernelOffset,
  end: KernelOffset,
): ReadonlyMap<KernelOffset, KernelOffset> {
  const out = new Map<KernelOffset, KernelOffset>();
  const section = image.section(start);
  if (section === undefined) return out;
  const { bytes } = section;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const limit = Math.min(end - section.start, bytes.length);
  for (let at = start - section.start; at + ABSOLUTE_ENTRY <= limit; at += ABSOLUTE_ENTRY) {
    const code = toKernelOffset(view.getBigUint64(at, true));
    const target = toKernelOffset(view.getBigUint64(at + 8, true));
    if (code !== undefined && target !== undefined) out.set(code, target);
  }
  return out;
}
