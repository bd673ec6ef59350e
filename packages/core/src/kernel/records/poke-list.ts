// What text_poke was writing at the moment of the dump: the batch that INT3 is being put over now, and what waits in the
// queue (arch/x86/kernel/alternative.c). A list that is not in use keeps its old entries; those count for nothing.

import { addressAdd, type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { getU32 } from "../layouts/little-endian.ts";

export interface PokeEntry {
  readonly at: KernelOffset;
  readonly length: number;
  /** The new bytes, `length` of them; undefined where the kernel's list does not hold them (before 5.3). */
  readonly text: Uint8Array | undefined;
  /** First byte from before, as saved in step one; undefined when not (yet) saved. */
  readonly old: number | undefined;
  /** False while it only waits in the queue: the place is untouched. */
  readonly active: boolean;
}

/** The vector is a page, and an entry is never smaller than this. */
const MAX_ENTRIES = 512;
/** POKE_MAX_OPCODE_SIZE is 5; Jcc takes 6. */
const MAX_LENGTH = 8;

/** Entries that are being written or wait for it; empty on a kernel at rest. Read once a kernel. */
export function pokeList(kernel: Kernel, problems: string[]): readonly PokeEntry[] {
  return kept(kernel, readOrTell, problems);
}

function readOrTell(kernel: Kernel, problems: string[]): PokeEntry[] {
  try {
    return read(kernel, problems);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`the list of text_poke: ${error.message}`);
    return [];
  }
}

function read(kernel: Kernel, problems: string[]): PokeEntry[] {
  const { structures: s, memory } = kernel;
  const out = new Map<KernelOffset, PokeEntry>();
  const add = (vector: VirtualAddress, count: number, active: boolean): void => {
    if (count <= 0 || vector === 0n) return;
    if (count > MAX_ENTRIES) {
      problems.push(`the list of text_poke claims ${count} entries, which is not believed`);
      return;
    }
    const layout = entryLayout(kernel);
    if (layout === undefined) {
      problems.push(`a text_poke of ${count} places is under way, and the layout of its list is unknown`);
      return;
    }
    const bytes = memory.read(vector, count * layout.size);
    for (let i = 0; i < count; i++) {
      const entry = decode(layout, bytes.subarray(i * layout.size, (i + 1) * layout.size), active);
      if (entry !== undefined && (active || !out.has(entry.at))) out.set(entry.at, entry);
    }
  };
  const at = (symbol: string): VirtualAddress | undefined => kernel.find(symbol);

  // 6.16: one array for the queue and the batch; nr_entries goes back to 0 when the batch is through.
  const array = at("text_poke_array");
  const ARRAY = "struct smp_text_poke_array";
  if (array !== undefined && s.has(ARRAY, "nr_entries")) {
    add(addressAdd(array, s.offset(ARRAY, "vec")), s.number(array, ARRAY, "nr_entries"), true);
    return [...out.values()];
  }

  // 5.7 (768ae4406a5c): the queue tp_vec, and bp_desc that leads to it or to one entry on the stack while refs > 0.
  const queue = at("tp_vec");
  const queued = at("tp_vec_nr");
  if (queue !== undefined && queued !== undefined) add(queue, memory.i32(queued), false);
  const DESC = "struct bp_patching_desc";
  let desc = at("bp_desc") ?? at("bp_patching");
  if (desc === undefined || !s.has(DESC, "vec")) return [...out.values()];
  // c3d6324f841b … 9cb4e4ca15c7 (5.7 … 6.0): a pointer to a descriptor on the stack, NULL at rest.
  const size = kernel.symbols.nearest(desc)?.size ?? 0;
  if (size > 0 && size < s.size(DESC)) desc = memory.pointer(desc);
  if (desc === 0n) return [...out.values()];
  const active = s.has(DESC, "refs") ? s.number(desc, DESC, "refs") > 0 : true;
  if (active) add(s.pointer(desc, DESC, "vec"), s.number(desc, DESC, "nr_entries"), true);
  return [...out.values()];
}

interface EntryLayout {
  readonly size: number;
  /** _stext for entries that hold a distance */
  readonly base: KernelOffset | undefined;
  readonly address: number;
  readonly length: number;
  readonly text: { readonly at: number; readonly size: number } | undefined;
  readonly old: number | undefined;
}

/** struct smp_text_poke_loc (6.16), struct text_poke_loc (5.3): told by their members. */
function entryLayout(kernel: Kernel): EntryLayout | undefined {
  const { structures: s } = kernel;
  const type = ["struct smp_text_poke_loc", "struct text_poke_loc"].find((name) => s.has(name, "len"));
  if (type === undefined) return undefined;
  const relative = s.find(type, "rel_addr");
  const address = relative ?? s.find(type, "addr");
  if (address === undefined) return undefined;
  // `text` since 5.5; the array was called `opcode` before.
  const text = s.find(type, "text") ?? s.find(type, "opcode");
  return {
    size: s.size(type),
    base: relative === undefined ? undefined : toKernelOffset(kernel.address("_stext")),
    address: address.offset,
    length: s.offset(type, "len"),
    text: text === undefined || text.size < 5 ? undefined : { at: text.offset, size: text.size },
    old: s.find(type, "old")?.offset,
  };
}

function decode(layout: EntryLayout, entry: Uint8Array, active: boolean): PokeEntry | undefined {
  const view = new DataView(entry.buffer, entry.byteOffset, entry.length);
  const at =
    layout.base === undefined
      ? toKernelOffset(view.getBigUint64(layout.address, true))
      : layout.base + (getU32(entry, layout.address) | 0);
  const length = entry[layout.length];
  if (at === undefined || at < 0 || at >= 2 ** 31 || length === 0 || length > MAX_LENGTH) return undefined;
  let text: Uint8Array | undefined;
  if (layout.text !== undefined) {
    const held = entry.subarray(layout.text.at, layout.text.at + layout.text.size);
    if (length <= held.length) text = held.slice(0, length);
    // Jcc rel32: its 0f is left out (ac0ee0a9560c, 6.3).
    else if (length === held.length + 1) text = Uint8Array.of(0x0f, ...held);
  }
  return { at, length, text, old: layout.old === undefined ? undefined : entry[layout.old], active };
}
