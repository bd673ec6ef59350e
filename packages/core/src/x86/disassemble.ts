// Disassembly for people, in the AT&T syntax that objdump, crash and gdb users read, one line an instruction.
import * as iced from "iced-x86";
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";

export interface Line {
  readonly address: VirtualAddress;
  readonly bytes: Uint8Array;
  readonly text: string;
  /** target of a near call or jump */
  readonly target?: VirtualAddress;
  /** bytes of its displacement, at the end of the instruction */
  readonly displacementSize?: number;
  /** address of a RIP-relative or absolute memory operand */
  readonly memory?: VirtualAddress;
  readonly invalid: boolean;
}

/** Disassembles all of `bytes`, which stand at `address`. A byte that starts no instruction is a "(bad)" line. */
export function disassemble(bytes: Uint8Array, address: VirtualAddress): Line[] {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const formatter = new iced.Formatter(iced.FormatterSyntax.Gas);
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  formatter.smallHexNumbersInDecimal = false;
  formatter.branchLeadingZeros = false;
  formatter.spaceAfterOperandSeparator = false;
  const instruction = new iced.Instruction();
  const out: Line[] = [];
  try {
    decoder.ip = address;
    let at = 0;
    while (at < bytes.length) {
      decoder.position = at;
      decoder.ip = virtualAddress(address + BigInt(at));
      decoder.decodeOut(instruction);
      const invalid = instruction.code === iced.Code.INVALID;
      const length = invalid ? 1 : instruction.length;
      const near =
        !invalid &&
        (instruction.flowControl === iced.FlowControl.Call ||
          instruction.flowControl === iced.FlowControl.UnconditionalBranch ||
          instruction.flowControl === iced.FlowControl.ConditionalBranch) &&
        instruction.nearBranchTarget !== 0n;
      const isMemory = !invalid && instruction.isIpRelMemoryOperand;
      out.push({
        address: virtualAddress(address + BigInt(at)),
        bytes: bytes.subarray(at, at + length),
        text: invalid ? "(bad)" : formatter.format(instruction),
        target: near ? virtualAddress(instruction.nearBranchTarget) : undefined,
        displacementSize: near ? displacementSize(bytes, at, length) : undefined,
        memory: isMemory ? virtualAddress(instruction.ipRelMemoryAddress) : undefined,
        invalid,
      });
      at += length;
    }
  } finally {
    instruction.free();
    formatter.free();
    decoder.free();
  }
  return out;
}

/** rel8 for eb, 70 … 7f and e0 … e3; rel32 otherwise. */
function displacementSize(bytes: Uint8Array, at: number, length: number): number {
  let i = at;
  while (i < at + length && /^(66|67|2e|3e|f2|f3|4.)$/.test(bytes[i].toString(16).padStart(2, "0"))) i++;
  const op = bytes[i];
  return op === 0xeb || (op & 0xf0) === 0x70 || (op & 0xfc) === 0xe0 ? 1 : 4;
}
