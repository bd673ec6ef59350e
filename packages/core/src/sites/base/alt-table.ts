// struct alt_instr in its five layouts, into arrays. The layout comes from BTF where there is one, else from the entry
// size under which the entries make sense.

import type { BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { featureText } from "../../kernel/feature-names.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getI32 } from "../../x86/encode.ts";
import type { SiteContext } from "./context.ts";

/**
 * 24: pointers, up to 3.5. 12 ("no flags"): 3.6 to 4.0, and again 5.13 to 6.2 with the top bit of cpuid for NOT.
 * 13: 4.1 to 5.12, with padlen. 14: 6.3 and newer, with flags.
 */
export type AltLayout = 12 | 13 | 14 | 24;

export interface AltTable {
  readonly layout: AltLayout;
  readonly count: number;
  readonly instr: Uint32Array;
  readonly replacement: Uint32Array;
  /** boot_cpu_has() number */
  readonly feature: Uint16Array;
  /** ALT_FLAG_NOT */
  readonly not: Uint8Array;
  /** ALT_FLAG_DIRECT_CALL, 6.8 and newer */
  readonly directCall: Uint8Array;
  readonly length: Uint8Array;
  readonly replacementLength: Uint8Array;
  /** only 13-byte entries */
  readonly padLength: Uint8Array;
  /** 1 for an entry with a flag that is not known */
  readonly odd: Uint8Array;
}

const LAYOUTS: readonly AltLayout[] = [14, 12, 13, 24];
/** Bytes of a 24-byte entry that carry something; assembler that writes the last entry may leave out the padding. */
const LONG_ENTRY_USED = 20;

/** The layout of this kernel; undefined when none fits. */
export function altLayout(context: SiteContext, table: BuiltSection): AltLayout | undefined {
  const size = context.kernel.types.sizeOf("struct alt_instr");
  if (size !== undefined) return LAYOUTS.find((layout) => layout === size && divides(table, layout));
  return LAYOUTS.find((layout) => divides(table, layout) && plausible(context, readAltTable(table, layout)));
}

function divides(table: BuiltSection, layout: AltLayout): boolean {
  const rest = table.bytes.length % layout;
  return rest === 0 || (layout === 24 && rest >= LONG_ENTRY_USED);
}

function plausible(context: SiteContext, table: AltTable): boolean {
  let good = 0;
  const sample = Math.min(table.count, 64);
  for (let k = 0; k < sample; k++) {
    const i = Math.floor((k * table.count) / sample);
    const lengths = table.length[i] > 0 && table.replacementLength[i] <= table.length[i];
    if (lengths && table.feature[i] < 40 * 32 && context.object.at(table.instr[i]) !== undefined) good++;
  }
  return good * 10 >= sample * 9;
}

/** Decodes the whole table. */
export function readAltTable(table: BuiltSection, layout: AltLayout): AltTable {
  const count = Math.floor((table.bytes.length + (layout === 24 ? layout - LONG_ENTRY_USED : 0)) / layout);
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
  const out = {
    layout,
    count,
    instr: new Uint32Array(count),
    replacement: new Uint32Array(count),
    feature: new Uint16Array(count),
    not: new Uint8Array(count),
    directCall: new Uint8Array(count),
    length: new Uint8Array(count),
    replacementLength: new Uint8Array(count),
    padLength: new Uint8Array(count),
    odd: new Uint8Array(count),
  };
  for (let i = 0; i < count; i++) {
    const at = i * layout;
    if (layout === 24) {
      out.instr[i] = toKernelOffset(view.getBigUint64(at, true)) ?? 0;
      out.replacement[i] = toKernelOffset(view.getBigUint64(at + 8, true)) ?? 0;
      out.feature[i] = view.getUint16(at + 16, true);
      out.length[i] = table.bytes[at + 18];
      out.replacementLength[i] = table.bytes[at + 19];
      continue;
    }
    out.instr[i] = table.start + at + getI32(table.bytes, at);
    out.replacement[i] = table.start + at + 4 + getI32(table.bytes, at + 4);
    const feature = view.getUint16(at + 8, true);
    if (layout === 14) {
      const flags = view.getUint16(at + 10, true);
      out.feature[i] = feature;
      out.not[i] = flags & 1;
      out.directCall[i] = (flags >> 1) & 1;
      out.odd[i] = flags >> 2 === 0 ? 0 : 1;
      out.length[i] = table.bytes[at + 12];
      out.replacementLength[i] = table.bytes[at + 13];
    } else {
      // dda7bb764849, 5.13: ALTINSTR_FLAG_INV
      out.feature[i] = feature & 0x7fff;
      out.not[i] = feature >> 15;
      out.length[i] = table.bytes[at + 10];
      out.replacementLength[i] = table.bytes[at + 11];
      if (layout === 13) out.padLength[i] = table.bytes[at + 12];
    }
  }
  return out;
}

/** Runs of consecutive entries for one place: [first, end). */
export function siteRun(table: AltTable, first: number): number {
  let end = first + 1;
  while (end < table.count && table.instr[end] === table.instr[first]) end++;
  return end;
}

/** "!X86_FEATURE 8*32+20 (pvunlock)": the feature that the entry asks for. */
export function featureName(kernel: Kernel, table: AltTable, i: number): string {
  return `${table.not[i] ? "!" : ""}${featureText(kernel, table.feature[i])}`;
}

/** Address of an entry, for messages. */
export function entryAddress(section: BuiltSection, layout: AltLayout, i: number): bigint {
  return fromKernelOffset((section.start + i * layout) as KernelOffset);
}
