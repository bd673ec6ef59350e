// One line of assembly text to machine code, by iced-x86's encoder. The encoder wants an exact instruction form;
// the form is looked up under the systematic names that iced gives them (Mov_rm64_r64, Jne_rel8_64 …).
import * as iced from "iced-x86";
import { type Operand, parseOperand } from "./operands.ts";

/** A field of four bytes inside an instruction whose value the linker supplies. */
export interface Fixup {
  /** from the start of the instruction */
  readonly offset: number;
  readonly kind: "plt32" | "pc32" | "abs32s";
  readonly symbol: string;
  /** the addend of an ELF RELA entry at this field */
  readonly addend: number;
}

export interface Encoded {
  readonly bytes: Uint8Array;
  readonly fixups: readonly Fixup[];
}

const CODE = iced.Code as unknown as Readonly<Record<string, number>>;
const encoder = new iced.Encoder(64);
const ALIASES: Readonly<Record<string, string>> = {
  ret: "Retnq",
  jc: "Jb",
  jnc: "Jae",
  jz: "Je",
  jnz: "Jne",
  setc: "Setb",
  leave: "Leaveq",
  nop: "Nopd",
};
/** String and port instructions have implied operands only: iced would want them spelled out. */
const IMPLIED: Readonly<Record<string, readonly number[]>> = {
  "rep stosq": [0xf3, 0x48, 0xab],
  "rep stosb": [0xf3, 0xaa],
  "rep movsb": [0xf3, 0xa4],
  "rep movsq": [0xf3, 0x48, 0xa5],
  "in al, dx": [0xec],
  "out dx, al": [0xee],
};

function suffixes(o: Operand, bits: number, first: boolean): string[] {
  if (o.kind === "reg" && o.name.startsWith("cr")) return ["cr"];
  if (o.kind === "reg") return first ? [`rm${o.bits}`, `r${o.bits}`] : [`r${o.bits}`, `rm${o.bits}`];
  if (o.kind === "mem") return [`rm${o.bits || bits}`, "m", `m${o.bits || bits}`];
  if (o.kind === "label") return ["rel32_64", "rel8_64"];
  const fits8 = o.symbol === undefined && o.value >= -128n && o.value <= 127n;
  return [...(fits8 || bits === 8 ? ["imm8"] : []), "imm32", "imm16", "imm64"];
}

function pickCode(mnemonic: string, operands: readonly Operand[], line: string): number {
  const m = ALIASES[mnemonic] ?? mnemonic[0].toUpperCase() + mnemonic.slice(1);
  const wide = operands.find((o) => o.kind === "reg" || (o.kind === "mem" && o.bits > 0));
  const bits = wide && "bits" in wide ? wide.bits : 64;
  if (operands.length === 0) {
    if (CODE[m] !== undefined) return CODE[m];
  } else if (operands.length === 1) {
    if (operands[0].kind === "reg" && (mnemonic === "push" || mnemonic === "pop")) return CODE[`${m}_r64`];
    for (const a of suffixes(operands[0], bits, true)) if (CODE[`${m}_${a}`] !== undefined) return CODE[`${m}_${a}`];
    if (CODE[`${m}q_imm32`] !== undefined) return CODE[`${m}q_imm32`];
  } else {
    const [x, y] = operands;
    if (y.kind === "reg" && y.name === "cl" && CODE[`${m}_rm${bits}_CL`] !== undefined)
      return CODE[`${m}_rm${bits}_CL`];
    for (const b of suffixes(y, bits, false)) {
      const firsts = suffixes(x, bits, true);
      if (y.kind === "imm" && b === "imm64" && bits === 64 && CODE[`${m}_r64_imm64`] !== undefined)
        return CODE[`${m}_r64_imm64`];
      if (y.kind === "imm" && b === "imm32" && x.kind === "reg" && bits === 32) firsts.reverse();
      for (const a of firsts) {
        if (y.kind === "imm" && b === "imm32" && bits === 64 && !fitsSigned32(y)) continue;
        if (CODE[`${m}_${a}_${b}`] !== undefined) return CODE[`${m}_${a}_${b}`];
      }
    }
  }
  throw new Error(`no instruction form for "${line}"`);
}

function fitsSigned32(o: { readonly value: bigint; readonly symbol?: string }): boolean {
  return o.symbol !== undefined || (o.value >= -0x8000_0000n && o.value <= 0x7fff_ffffn);
}

function memoryOperand(o: Extract<Operand, { kind: "mem" }>): iced.MemoryOperand {
  const symbolic = o.symbol !== undefined;
  const wide = symbolic || o.absolute || o.displacement < -128n || o.displacement > 127n;
  const needs = wide || o.displacement !== 0n || o.base === iced.Register.RBP || o.base === iced.Register.R13;
  const relative = o.base === iced.Register.RIP;
  const size = wide || relative ? 8 : needs ? 1 : 0;
  // The linker fills a symbol's field in: any value that iced accepts will do here.
  const value = relative ? o.displacement & 0x7fffffffn : o.displacement;
  return new iced.MemoryOperand(o.base, o.index, o.scale, value, size, false, o.segment);
}

function create(code: number, ops: readonly Operand[]): iced.Instruction {
  const I = iced.Instruction;
  const [x, y] = ops;
  const imm32 = (o: Operand) => (o.kind === "imm" ? Number(BigInt.asIntN(32, o.value)) : 0);
  if (x === undefined) return I.create(code);
  if (y === undefined) {
    if (x.kind === "reg") return I.createReg(code, x.register);
    if (x.kind === "mem") return I.createMem(code, memoryOperand(x));
    if (x.kind === "label") return I.createBranch(code, 0n);
    return I.createI32(code, imm32(x));
  }
  if (x.kind === "reg" && y.kind === "reg") return I.createRegReg(code, x.register, y.register);
  if (x.kind === "reg" && y.kind === "mem") return I.createRegMem(code, x.register, memoryOperand(y));
  if (x.kind === "mem" && y.kind === "reg") return I.createMemReg(code, memoryOperand(x), y.register);
  if (x.kind === "mem" && y.kind === "imm") return I.createMemI32(code, memoryOperand(x), imm32(y));
  if (x.kind === "reg" && y.kind === "imm")
    return code === CODE.Mov_r64_imm64
      ? I.createRegI64(code, x.register, BigInt.asIntN(64, y.value))
      : I.createRegI32(code, x.register, imm32(y));
  throw new Error("operand pair of an unknown kind");
}

/**
 * Encodes one instruction. A branch to a name becomes a rel32 with a fixup ("jne short name" gives a rel8 whose
 * single displacement byte the caller fills in).
 */
export function encode(line: string): Encoded {
  const implied = IMPLIED[line];
  if (implied) return { bytes: Uint8Array.from(implied), fixups: [] };
  const words = /^((?:(?:lock|rep|repne)\s+)*)(\w+)\s*(.*)$/.exec(line);
  if (!words) throw new Error(`cannot read "${line}"`);
  const [, prefixes, mnemonic, rest] = words;
  const short = rest.startsWith("short ");
  const operands = (short ? rest.slice(6) : rest)
    .split(/,(?![^[]*\])/)
    .map((t) => t.trim())
    .filter((t) => t !== "")
    .map(parseOperand);
  const name = ALIASES[mnemonic] ?? mnemonic[0].toUpperCase() + mnemonic.slice(1);
  const code = short ? CODE[`${name}_rel8_64`] : pickCode(mnemonic, operands, line);
  const instruction = create(code, operands);
  if (prefixes.includes("lock")) instruction.hasLockPrefix = true;
  if (/\brep\b/.test(prefixes)) instruction.hasRepPrefix = true;
  encoder.encode(instruction, 0n);
  const at = encoder.getConstantOffsets();
  const bytes = encoder.takeBuffer();
  const fixups: Fixup[] = [];
  const field = (offset: number, kind: Fixup["kind"], symbol: string, addend: number) => {
    bytes.fill(0, offset, offset + 4);
    fixups.push({ offset, kind, symbol, addend });
  };
  for (const o of operands) {
    if (o.kind === "label" && !short) field(at.immediateOffset, "plt32", o.name, -4);
    if (o.kind === "imm" && o.symbol !== undefined) field(at.immediateOffset, "abs32s", o.symbol, Number(o.value));
    if (o.kind === "mem" && o.symbol !== undefined) {
      const relative = o.base === iced.Register.RIP;
      const end = relative ? bytes.length - at.displacementOffset : 0;
      field(at.displacementOffset, relative ? "pc32" : "abs32s", o.symbol, Number(o.displacement) - end);
    }
  }
  at.free();
  instruction.free();
  return { bytes, fixups };
}
