// Follows the stack pointer through a function's text, as objtool does, and writes the ORC tables from it, so that
// a stack in the specimen can be unwound by the same tables as a real one.
import type { Unit } from "../object/unit.ts";

/** Where the caller's frame (CFA: the stack pointer before the call) is, seen from one instruction. */
export interface FrameState {
  readonly base: "sp" | "bp";
  /** bytes from the base register to the CFA */
  readonly offset: number;
  /** where the caller's rbp was saved, from the CFA; undefined while rbp is still the caller's */
  readonly savedBp?: number;
}

export const ENTRY: FrameState = { base: "sp", offset: 8 };

/** The frame state after an instruction. */
export function step(line: string, s: FrameState): FrameState {
  const grow = (bytes: number): FrameState => (s.base === "sp" ? { ...s, offset: s.offset + bytes } : s);
  if (/^push(fq)?\b/.test(line)) {
    const next = grow(8);
    return line === "push rbp" && s.savedBp === undefined ? { ...next, savedBp: -next.offset } : next;
  }
  if (line === "mov rbp, rsp") return { ...s, base: "bp" };
  if (line === "leave") return { base: "sp", offset: 8 };
  if (line === "pop rbp") return { base: "sp", offset: s.base === "bp" ? 8 : s.offset - 8 };
  if (/^pop/.test(line)) return grow(-8);
  const move = /^(sub|add) rsp, (\w+)$/.exec(line);
  if (move) return grow(move[1] === "sub" ? Number(move[2]) : -Number(move[2]));
  return s;
}

/** ORC register numbers of arch/x86/include/asm/orc_types.h: undefined 0, previous SP 1, BP 4, SP 5. */
const REGISTER = { sp: 5, bp: 4 } as const;
const CALL = 0;
const END = 1 << 10;

/**
 * Appends one ORC entry (6 bytes: s16 sp_offset, s16 bp_offset, u16 sp_reg:4 bp_reg:4 type:2 end:1) that holds from
 * the given place on. "gap": no code here; "end": the outermost frame, where every unwind stops.
 */
export function orcEntry(unit: Unit, section: string, offset: number, state: FrameState | "gap" | "end"): void {
  const ip = unit.section(".orc_unwind_ip", { align: 4 });
  const orc = unit.section(".orc_unwind", { align: 2 }).bytes;
  ip.relocations.push({ offset: ip.bytes.length, kind: "pc32", symbol: unit.place(section, offset), addend: 0 });
  ip.bytes.u32(0);
  if (typeof state === "string") {
    orc
      .u16(0)
      .u16(0)
      .u16(state === "end" ? END : 0);
    return;
  }
  const saved = state.savedBp;
  const flags = REGISTER[state.base] | ((saved === undefined ? 0 : 1) << 4) | (CALL << 8);
  orc
    .u16(state.offset & 0xffff)
    .u16((saved ?? 0) & 0xffff)
    .u16(flags);
}
