// One entry of the ORC tables, in the four encodings that kernels have had (arch/x86/include/asm/orc_types.h): told by what
// the entries hold, since the header's hash is not loaded and release numbers lie.
import { getU16 } from "../../kernel/layouts/little-endian.ts";

export type OrcBase = "undefined" | "prev-sp" | "ax" | "dx" | "di" | "bp" | "sp" | "r10" | "r13" | "bp-at" | "sp-at";
export type OrcType = "undefined" | "end" | "call" | "regs" | "iret";

export interface OrcEntry {
  readonly spBase: OrcBase;
  readonly spOffset: number;
  readonly bpBase: OrcBase;
  readonly bpOffset: number;
  readonly type: OrcType;
  /** The instruction pointer of the frame above is exact, not a return address. */
  readonly signal: boolean;
}

/** v1 4.14, v2 6.3 (ffb1b4a41016), v3 6.4 (fb799447ae29), v4 7.1 (registers numbered anew). */
export type OrcVersion = 1 | 2 | 3 | 4;

export const ORC_ENTRY_SIZE = 6;

const BASES: Readonly<Record<"old" | "new", readonly OrcBase[]>> = {
  old: ["undefined", "prev-sp", "dx", "di", "bp", "sp", "r10", "r13", "bp-at", "sp-at"],
  new: ["undefined", "ax", "dx", "sp", "bp", "di", "r10", "r13", "prev-sp", "sp-at", "bp-at"],
};
const OLD_TYPES: readonly OrcType[] = ["call", "regs", "iret"];
const NEW_TYPES: readonly OrcType[] = ["undefined", "end", "call", "regs", "iret"];

const signed = (value: number): number => (value << 16) >> 16;

/** Decodes the six bytes at `at`; undefined for a register or type that this encoding does not have. */
export function decodeOrc(bytes: Uint8Array, at: number, version: OrcVersion): OrcEntry | undefined {
  const bits = getU16(bytes, at + 4);
  const bases = version === 4 ? BASES.new : BASES.old;
  const spBase = bases[bits & 15];
  const bpBase = bases[(bits >> 4) & 15];
  const type = version >= 3 ? NEW_TYPES[(bits >> 8) & 7] : OLD_TYPES[(bits >> 8) & 3];
  if (spBase === undefined || bpBase === undefined || type === undefined) return undefined;
  const spOffset = signed(getU16(bytes, at));
  const bpOffset = signed(getU16(bytes, at + 2));
  if (version >= 3) return { spBase, spOffset, bpBase, bpOffset, type, signal: (bits & 0x800) !== 0 };
  const end = (bits & (version === 2 ? 0x800 : 0x400)) !== 0;
  const signal = version === 2 ? (bits & 0x400) !== 0 : type !== "call";
  return {
    spBase,
    spOffset,
    bpBase,
    bpOffset,
    signal,
    type: spBase === "undefined" ? (end ? "end" : "undefined") : type,
  };
}

/**
 * The encoding of a sample of entries: most are of ordinary functions, a CALL counted from the stack pointer.
 * @param knowsSignal whether the kernel's types know orc_entry.signal; undefined when they do not know the structure
 */
export function orcVersion(sample: Uint8Array, knowsSignal: boolean | undefined): OrcVersion | undefined {
  let total = 0;
  let bit11 = false;
  const counts = { old: 0, third: 0, fourth: 0 };
  for (let at = 0; at + ORC_ENTRY_SIZE <= sample.length; at += ORC_ENTRY_SIZE) {
    const bits = getU16(sample, at + 4);
    const type = (bits >> 8) & 7;
    const sp = bits & 15;
    total++;
    bit11 ||= (bits & 0x800) !== 0;
    if (type === 0 && sp === 5) counts.old++;
    else if (type === 2 && sp === 5) counts.third++;
    else if (type === 2 && sp === 3) counts.fourth++;
  }
  const most = total / 3;
  if (counts.old > most) return (knowsSignal ?? bit11) ? 2 : 1;
  if (counts.third > most) return 3;
  if (counts.fourth > most) return 4;
  return undefined;
}
