// Instruction boundaries and the few properties that patching needs of an instruction, on iced-x86. A decoder
// object is a trip into WebAssembly, so one is made a site, not one an instruction.
import * as iced from "iced-x86";

export interface Shape {
  /** offset inside the decoded bytes */
  readonly at: number;
  readonly length: number;
  /** NOP (90, not PAUSE) or NOPL (0f 1f), as insn_is_nop() of alternative.c */
  readonly nop: boolean;
  /** a relative branch: bytes of its displacement (1, 2 or 4), which ends the instruction; 0 otherwise */
  readonly branchSize: number;
  /** offset of the RIP-relative displacement from the instruction's start, when there is one */
  readonly ripDisplacement?: number;
  /** first opcode byte behind prefixes */
  readonly opcode: number;
  readonly opcode2: number;
}

/** Offset of the opcode behind legacy and REX prefixes. */
export function opcodeIndex(bytes: Uint8Array, at: number): number {
  let i = at;
  for (; i < bytes.length; i++) {
    const b = bytes[i];
    const prefix =
      b === 0x66 || b === 0x67 || b === 0x2e || b === 0x3e || b === 0x26 || b === 0x36 || b === 0x64 || b === 0x65;
    if (!prefix && b !== 0xf0 && b !== 0xf2 && b !== 0xf3) break;
  }
  if (i < bytes.length && (bytes[i] & 0xf0) === 0x40) i++;
  return i;
}

/**
 * The instructions in bytes[0, length), in order. Stops before the first one that does not decode or does not end
 * inside `bytes`; an instruction may reach over `length` when `bytes` goes on.
 */
export function shapes(bytes: Uint8Array, length = bytes.length): Shape[] {
  const out: Shape[] = [];
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const instruction = new iced.Instruction();
  try {
    let at = 0;
    while (at < length) {
      decoder.decodeOut(instruction);
      const size = instruction.length;
      if (size === 0 || instruction.code === iced.Code.INVALID) break;
      const op = opcodeIndex(bytes, at);
      const opcode = bytes[op];
      const opcode2 = bytes[op + 1];
      const rex = op > at && (bytes[op - 1] & 0xf0) === 0x40;
      const nop =
        (opcode === 0x90 && bytes[at] !== 0xf3 && !(rex && (bytes[op - 1] & 1) !== 0)) ||
        (opcode === 0x0f && opcode2 === 0x1f);
      let branchSize = 0;
      if (opcode === 0xe8 || opcode === 0xe9 || (opcode === 0x0f && (opcode2 & 0xf0) === 0x80)) branchSize = 4;
      else if (opcode === 0xeb || (opcode & 0xf0) === 0x70) branchSize = 1;
      let ripDisplacement: number | undefined;
      if (instruction.isIpRelMemoryOperand) {
        const offsets = decoder.getConstantOffsets(instruction);
        if (offsets.hasDisplacement) ripDisplacement = offsets.displacementOffset;
        offsets.free();
      }
      out.push({ at, length: size, nop, branchSize, ripDisplacement, opcode, opcode2 });
      at += size;
    }
  } finally {
    instruction.free();
    decoder.free();
  }
  return out;
}
