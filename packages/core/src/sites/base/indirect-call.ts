// An indirect call or jump through a memory slot, as paravirt calls are built: which slot it reads tells what the
// kernel will put there.
import type { KernelOffset } from "../../bytes/brand.ts";
import { getI32 } from "../../x86/encode.ts";

export interface IndirectBranch {
  readonly slot: KernelOffset;
  readonly jump: boolean;
  /** bytes of the instruction */
  readonly length: number;
}

/** `call/jmp *abs32` (ff 14 25 / ff 24 25) or `call/jmp *disp32(%rip)` (ff 15 / ff 25) at the start of the bytes. */
export function decodeIndirect(bytes: Uint8Array, at: KernelOffset): IndirectBranch | undefined {
  if (bytes[0] !== 0xff) return undefined;
  const modrm = bytes[1];
  if ((modrm === 0x14 || modrm === 0x24) && bytes[2] === 0x25 && bytes.length >= 7) {
    // abs32 is sign-extended: counted from KERNEL_MAP_BASE it is the low 31 bits of an address in the top 2 GiB.
    return { slot: getI32(bytes, 3) + 2 ** 31, jump: modrm === 0x24, length: 7 };
  }
  if ((modrm === 0x15 || modrm === 0x25) && bytes.length >= 6) {
    return { slot: at + 6 + getI32(bytes, 2), jump: modrm === 0x25, length: 6 };
  }
  return undefined;
}

/** Deepest byte at which an asm site's call may start: up to nine pushes of caller-save registers, two bytes each. */
const MAX_PUSHES = 18;

/**
 * The indirect call of a site written in asm, which may save registers around it (PV_SAVE_REGS, up to 5.x): `push %rax;
 * call *slot(%rip); pop %rax`.
 */
export function decodeSavedIndirect(bytes: Uint8Array, at: KernelOffset): IndirectBranch | undefined {
  let skip = 0;
  while (skip < bytes.length && skip < MAX_PUSHES) {
    if (bytes[skip] >= 0x50 && bytes[skip] <= 0x57) skip += 1;
    else if (bytes[skip] === 0x41 && bytes[skip + 1] >= 0x50 && bytes[skip + 1] <= 0x57) skip += 2;
    else break;
  }
  return decodeIndirect(bytes.subarray(skip), at + skip);
}
