// Which slots the boot patches into code, and where: each entry of .parainstructions (up to 6.7) and each alternative
// that is a direct call (6.8 and newer) lists an indirect call, whose operand is the slot. What follows the kernel's
// own tables needs no list of structures: pv_lock_ops, pv_ops and pv_ops_lock are found alike.
import { type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import { getI32 } from "../x86/encode.ts";
import type { LinkImage, LinkSection } from "./link-image.ts";

export interface PatchTable {
  /** ".parainstructions" */
  readonly name: string;
  readonly start: KernelOffset;
  /** Sites by slot. */
  readonly sites: ReadonlyMap<KernelOffset, number>;
  /** Entries whose place holds no indirect call through a fixed address. */
  readonly others: number;
}

/** struct paravirt_patch_site {u8 *instr; u8 type; u8 len; …}: 16 bytes in every release, the last one unpadded. */
const PARA_ENTRY = 16;
const PARA_USED = 10;
/** struct alt_instr since 6.3: s32 instr, s32 replacement, u16 cpuid, u16 flags, u8 length, u8 replacement length. */
const ALT_ENTRY = 14;
/** ALT_FLAG_DIRECT_CALL, 6.8 and newer */
const DIRECT_CALL = 2;

/** The tables by which this image's boot patches calls through slots; none without CONFIG_PARAVIRT. */
export function patchTables(image: LinkImage): PatchTable[] {
  const out: PatchTable[] = [];
  for (const section of image.sections) {
    const read =
      section.name === ".parainstructions"
        ? paravirtSites(section)
        : section.name === ".altinstructions"
          ? directCalls(image, section)
          : undefined;
    if (read === undefined) continue;
    const sites = new Map<KernelOffset, number>();
    let others = 0;
    for (const at of read) {
      const slot = indirectSlot(image, at);
      if (slot === undefined) others++;
      else sites.set(slot, (sites.get(slot) ?? 0) + 1);
    }
    if (sites.size > 0) out.push({ name: section.name, start: section.start, sites, others });
  }
  return out;
}

function paravirtSites({ bytes }: LinkSection): KernelOffset[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: KernelOffset[] = [];
  for (let at = 0; at + PARA_USED <= bytes.length; at += PARA_ENTRY) {
    const offset = toKernelOffset(view.getBigUint64(at, true));
    if (offset !== undefined) out.push(offset);
  }
  return out;
}

/** Entries flagged as direct calls, once a place. Shorter and longer entries, of older kernels, have no such flag. */
function directCalls(image: LinkImage, { bytes, start }: LinkSection): Set<KernelOffset> {
  const out = new Set<KernelOffset>();
  if (bytes.length % ALT_ENTRY !== 0) return out;
  for (let at = 0; at < bytes.length; at += ALT_ENTRY) {
    const instr = start + at + getI32(bytes, at);
    const length = bytes[at + 12];
    // A table of another layout shows itself: its "places" are no code.
    if (image.section(instr) === undefined || bytes[at + 13] > length) return new Set();
    if (((bytes[at + 10] | (bytes[at + 11] << 8)) & DIRECT_CALL) !== 0) out.add(instr);
  }
  return out;
}

/** The operand of `call *slot` or `jmp *slot` at `at`, absolute (ff 14 25) or RIP-relative (ff 15). */
export function indirectSlot(image: LinkImage, at: KernelOffset): KernelOffset | undefined {
  const section = image.section(at);
  if (section === undefined) return undefined;
  const { bytes, start } = section;
  let from = at - start;
  // Entry code saves rax around the call: push, call, pop (PV_SAVE_REGS, up to 5.13).
  if ((bytes[from] & 0xf8) === 0x50) from++;
  if (from + 7 > bytes.length || bytes[from] !== 0xff) return undefined;
  const modrm = bytes[from + 1];
  if (modrm === 0x15 || modrm === 0x25) return start + from + 6 + getI32(bytes, from + 2);
  if ((modrm === 0x14 || modrm === 0x24) && bytes[from + 2] === 0x25) {
    const value = getI32(bytes, from + 3);
    return value < 0 ? value + 2 ** 31 : undefined;
  }
  return undefined;
}
