// .parainstructions as columns, and which slot each of its types means. Up to 4.19 every group of slots is a structure of
// its own, laid out nowhere but in the build; the sites whose instruction names the slot teach the rest.
import type { BuiltSection } from "../../built/object.ts";
import { type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { decodeSavedIndirect } from "./indirect-call.ts";
import type { PatchSpace } from "./patch-space.ts";

/** struct paravirt_patch_site {u8 *instr; u8 type; u8 len; u16 clobbers (up to 4.19)}: 16 bytes in every release. */
const ENTRY = 16;
/** CLBR_ANY on x86-64: the nine caller-save registers (paravirt_types.h, up to 4.19). */
export const CLBR_ANY = 0x1ff;

export interface PvSites {
  readonly count: number;
  /** -1 where the entry holds no address of the kernel's 2 GiB */
  readonly offsets: Float64Array;
  readonly types: Uint8Array;
  readonly lengths: Uint8Array;
  /** Registers that the site gives up; undefined where entries have no such member (since 27876f3882fd, 4.20). */
  readonly clobbers: Uint16Array | undefined;
}

export function readPvSites(table: BuiltSection): PvSites {
  const { bytes } = table;
  // The section lacks the padding behind its last entry: a tail of 10 or more bytes is an entry.
  const count = Math.floor((bytes.length + ENTRY - 10) / ENTRY);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const offsets = new Float64Array(count);
  const types = new Uint8Array(count);
  const lengths = new Uint8Array(count);
  const clobbers = new Uint16Array(count);
  let any = false;
  for (let i = 0; i < count; i++) {
    const at = i * ENTRY;
    offsets[i] = toKernelOffset(view.getBigUint64(at, true)) ?? -1;
    types[i] = bytes[at + 8];
    lengths[i] = bytes[at + 9];
    clobbers[i] = at + 12 <= bytes.length ? view.getUint16(at + 10, true) : 0;
    if (clobbers[i] !== 0) any = true;
  }
  return { count, offsets, types, lengths, clobbers: any ? clobbers : undefined };
}

/** paravirt_patch_template as the sites show it: slots by type. */
export class PvTemplate {
  private readonly bases = new Map<number, KernelOffset>();
  private readonly seen: number[];

  /** @param symbolOf where the structure that covers a slot starts, by the symbol table */
  constructor(
    sites: PvSites,
    space: PatchSpace,
    private readonly symbolOf: (slot: KernelOffset) => KernelOffset | undefined,
  ) {
    const votes = new Map<number, Map<KernelOffset, number>>();
    for (let i = 0; i < sites.count; i++) {
      const at = sites.offsets[i];
      const built = at < 0 ? undefined : space.readBuilt(at, sites.lengths[i]);
      const branch = built && decodeSavedIndirect(built, at);
      if (branch === undefined) continue;
      const type = sites.types[i];
      const of = votes.get(type) ?? new Map<KernelOffset, number>();
      votes.set(type, of);
      of.set(branch.slot, (of.get(branch.slot) ?? 0) + 1);
    }
    for (const [type, slots] of votes) {
      const [slot] = [...slots].reduce((best, each) => (each[1] > best[1] ? each : best));
      this.bases.set(type, slot - type * 8);
    }
    this.seen = [...this.bases.keys()].sort((a, b) => a - b);
  }

  /**
   * The slot of a type. One that no site names is counted from the nearest type of the same structure: both must lie
   * under one symbol.
   */
  slot(type: number): KernelOffset | undefined {
    const own = this.bases.get(type);
    if (own !== undefined) return own + type * 8;
    const near = [...this.seen].sort((a, b) => Math.abs(a - type) - Math.abs(b - type));
    for (const other of near.slice(0, 4)) {
      const base = this.bases.get(other) ?? 0;
      const slot = base + type * 8;
      const symbol = this.symbolOf(slot);
      if (symbol !== undefined && symbol === this.symbolOf(base + other * 8)) return slot;
    }
    return undefined;
  }
}
