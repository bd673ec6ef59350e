// How a replacement is made to run at its new place, and how padding is turned into long NOPs, by era
// (arch/x86/kernel/alternative.c).
import type { KernelOffset } from "../../bytes/brand.ts";
import { CALL, getI32, JMP8, JMP32, putI32 } from "../../x86/encode.ts";
import { shapes } from "../../x86/instructions.ts";
import { fillNops, type NopStyle } from "../../x86/nops.ts";

/** optimize_nops() since 6.4: any adjacent NOPs become one; a NOP that already ends the buffer is left. */
export function mergeNops(buffer: Uint8Array, length: number, style: NopStyle): void {
  if (!hasNop(buffer, length)) return;
  const list = shapes(buffer, length);
  for (let k = 0; k < list.length; k++) {
    if (!list[k].nop) continue;
    const start = list[k].at;
    if (start + list[k].length === length) return;
    while (k + 1 < list.length && list[k + 1].nop) k++;
    const end = list[k].at + list[k].length;
    fillNops(buffer, start, end - start, style);
  }
}

/** Runs of two or more 0x90 become longer NOPs: optimize_nops() of 5.13 to 6.3 and of Debian's late 5.10. */
export function mergeSingleNops(buffer: Uint8Array, length: number, style: NopStyle): void {
  let run = false;
  for (let i = 0; i + 1 < length; i++) {
    if (buffer[i] === 0x90 && buffer[i + 1] === 0x90) {
      run = true;
      break;
    }
  }
  if (!run) return;
  let skipTo = 0;
  for (const { at, length: size, opcode } of shapes(buffer, length)) {
    if (at < skipTo || size !== 1 || opcode !== 0x90) continue;
    let end = at;
    while (end < length && buffer[end] === 0x90) end++;
    if (end - at > 1) fillNops(buffer, at, end - at, style);
    skipTo = end;
  }
}

function hasNop(buffer: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (buffer[i] === 0x90 || (buffer[i] === 0x0f && buffer[i + 1] === 0x1f)) return true;
  }
  return false;
}

/**
 * apply_relocation() since 6.4: branches and RIP-relative operands that leave the replacement get the distance added;
 * JMP rel32 that reaches in 8 bits shrinks, INT3 behind it.
 * @param buffer the replacement, padded with 0x90 to `length`
 * @param at where it is going to stand
 * @param from where the replacement stands
 */
export function relocateReplacement(
  buffer: Uint8Array,
  length: number,
  at: KernelOffset,
  from: KernelOffset,
  replacementLength: number,
): void {
  const delta = from - at;
  const leaves = (offset: number): boolean => offset < 0 || offset > replacementLength;
  for (const shape of shapes(buffer, length)) {
    const next = shape.at + shape.length;
    if (shape.branchSize > 0) {
      const immediateAt = next - shape.branchSize;
      const immediate = shape.branchSize === 1 ? (buffer[immediateAt] << 24) >> 24 : getI32(buffer, immediateAt);
      if (leaves(next + immediate)) {
        if (shape.branchSize === 1) buffer[immediateAt] = immediate + delta;
        else putI32(buffer, immediateAt, immediate + delta);
      }
      if (shape.opcode === JMP32) {
        // As the kernel has it: the distance is added even when the target lies inside.
        const short = immediate + delta + 3;
        if (short >= -128 && short <= 127) {
          buffer[shape.at] = JMP8;
          buffer[shape.at + 1] = short;
          buffer.fill(0xcc, shape.at + 2, next);
        }
      }
    }
    if (shape.ripDisplacement !== undefined) {
      const displacementAt = shape.at + shape.ripDisplacement;
      const displacement = getI32(buffer, displacementAt);
      if (leaves(next + displacement)) putI32(buffer, displacementAt, displacement + delta);
    }
  }
}

/** Up to 6.3: a CALL that is the whole replacement, and a 5-byte JMP at its start (recompute_jump(), since 4.1). */
export function relocateSimple(
  buffer: Uint8Array,
  at: KernelOffset,
  from: KernelOffset,
  replacementLength: number,
  style: NopStyle,
): void {
  if (replacementLength !== 5) return;
  if (buffer[0] === CALL) {
    putI32(buffer, 1, getI32(buffer, 1) + from - at);
    return;
  }
  if (buffer[0] !== JMP32) return;
  const target = from + 5 + getI32(buffer, 1);
  const distance = target - at;
  // For negative distances the kernel compares with an unsigned byte mask, which never holds: only forward jumps shrink.
  if (distance >= 0 && distance - 2 <= 127) {
    buffer[0] = JMP8;
    buffer[1] = distance - 2;
    fillNops(buffer, 2, 3, style);
  } else {
    putI32(buffer, 1, distance - 5);
  }
}
