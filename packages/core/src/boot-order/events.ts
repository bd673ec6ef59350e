// What one function does that matters for the order of things: whom it calls, through which slots, which slots it
// writes, whose addresses it takes. Instruction lengths come from iced-x86, the few operands are read from the bytes:
// a kernel has four million instructions, and each question to the decoder is a trip into WebAssembly.
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32, isJcc32 } from "../x86/encode.ts";
import { opcodeIndex } from "../x86/instructions.ts";

export const EVENT = {
  /** near call; a: target */
  call: 1,
  /** jump out of the function; a: target */
  jump: 2,
  /** the function ends without a return, into the next one; a: its start */
  fall: 3,
  /** call or jump through the pointer at a fixed address; a: the address */
  callSlot: 4,
  /** call or jump through a register, or a thunk that does so; register */
  callRegister: 5,
  /** call through memory that a register points to, or an indexed table; a: the table's address or -1 */
  callMemory: 6,
  /** 8-byte store of a constant to a fixed address; a: address, b: the constant's offset, or -1 */
  storeConstant: 7,
  /** 8-byte store of a register to a fixed address; a: address, register */
  storeRegister: 8,
  /** 8-byte store at a base register; a: displacement, register: base; b: constant's offset, -1 none, -2-r register r */
  storeBased: 9,
  /** 8-byte load from a fixed address; a: address, register */
  load: 10,
  /** a kernel address taken; a: it */
  reference: 11,
  /** rep movs; a: bytes a step */
  copy: 12,
} as const;

export type EventKind = (typeof EVENT)[keyof typeof EVENT];

export interface CodeEvent {
  /** of the instruction */
  readonly at: KernelOffset;
  readonly kind: EventKind;
  readonly register: number;
  readonly a: number;
  readonly b: number;
}

/** How control leaves an instruction at a function's end. "pads" tells nothing: what came before decides. */
export type Ending = "goes on" | "stops" | "pads";

/** The near and indirect branches and 64-bit moves, by first opcode byte; everything else is of no interest. */
const WIDE = new Uint8Array(256);
for (const opcode of [0x03, 0x63, 0x81, 0x89, 0x8b, 0x8d, 0xc7]) WIDE[opcode] = 1;
/** Displacements that are a table's address in the kernel image, not an offset below zero. */
const TABLES_END = 0x7f000000;

/** Offset of a sign-extended 32-bit number taken as an address; -1 when that is not in the kernel's 2 GiB. */
export const signExtended = (value: number): KernelOffset => (value < 0 ? value + 2 ** 31 : -1);

/** Turns the instructions of one function into events. */
export class EventScanner {
  events: CodeEvent[] = [];
  ending: Ending = "stops";
  private at = 0;

  /**
   * @param bytes the section's, at `base`
   * @param thunkRegister the register through which a thunk at that address jumps
   * @param based collect storeBased events too
   */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly base: KernelOffset,
    private readonly start: KernelOffset,
    private readonly end: KernelOffset,
    private readonly thunkRegister: (target: KernelOffset) => number | undefined,
    private readonly based: boolean,
  ) {}

  instruction(at: KernelOffset, length: number): void {
    this.at = at;
    const from = at - this.base;
    const op = opcodeIndex(this.bytes, from);
    const ending = this.branchOrPadding(from, op, at + length) ?? this.operand(from, op, at + length);
    if (ending !== "pads") this.ending = ending;
  }

  private push(kind: EventKind, register: number, a: number, b = 0): void {
    this.events.push({ at: this.at, kind, register, a, b });
  }

  private reference(target: KernelOffset): void {
    if (target >= 0 && target < 2 ** 31) this.push(EVENT.reference, 0, target);
  }

  private branch(kind: typeof EVENT.call | typeof EVENT.jump, target: KernelOffset, next: KernelOffset): void {
    const thunk = this.thunkRegister(target);
    if (thunk !== undefined) this.push(EVENT.callRegister, thunk, 0);
    else if (kind === EVENT.call ? target !== next : target < this.start || target >= this.end) {
      this.push(kind, 0, target);
    }
  }

  /** Instructions that are known by their opcode alone; undefined for the others. */
  private branchOrPadding(from: number, op: number, next: KernelOffset): Ending | undefined {
    const { bytes } = this;
    const opcode = bytes[op];
    switch (opcode) {
      case 0xe8:
        this.branch(EVENT.call, next + getI32(bytes, op + 1), next);
        return "stops"; // a call that ends a function is one that does not return
      case 0xe9:
        this.branch(EVENT.jump, next + getI32(bytes, op + 1), next);
        return "stops";
      case 0xeb:
        this.branch(EVENT.jump, next + ((bytes[op + 1] << 24) >> 24), next);
        return "stops";
      case 0x0f:
        if (isJcc32(bytes, op)) this.branch(EVENT.jump, next + getI32(bytes, op + 2), next);
        if (bytes[op + 1] === 0x1f) return "pads";
        return bytes[op + 1] === 0x0b ? "stops" : "goes on";
      case 0xc2:
      case 0xc3:
      case 0xcb:
      case 0xcc:
      case 0xcf:
        return "stops";
      case 0x90:
        return "pads";
      case 0x00:
        return "stops"; // no instruction, but a page that Xen or the boot fills
      case 0xa4:
      case 0xa5:
        if (bytes[from] === 0xf3 || bytes[from + 1] === 0xf3) {
          const wide = op > from && (bytes[op - 1] & 0xf8) === 0x48;
          this.push(EVENT.copy, 0, opcode === 0xa4 ? 1 : wide ? 8 : 4);
        }
        return "goes on";
      case 0x68:
        this.reference(signExtended(getI32(bytes, op + 1)));
        return "goes on";
      default:
        return undefined;
    }
  }

  private operand(from: number, op: number, next: KernelOffset): Ending {
    const { bytes } = this;
    const opcode = bytes[op];
    const rex = op > from && (bytes[op - 1] & 0xf0) === 0x40 ? bytes[op - 1] : 0;
    const wide = (rex & 8) !== 0;
    if (wide && (opcode & 0xf8) === 0xb8) {
      if (getI32(bytes, op + 5) === -1) this.reference(signExtended(getI32(bytes, op + 1)));
      return "goes on";
    }
    if (wide && opcode === 0x05) this.reference(signExtended(getI32(bytes, op + 1)));
    if (opcode !== 0xff && !(wide && WIDE[opcode] === 1)) return "goes on";
    const memory = memoryOperand(bytes, from, op, rex, next);
    if (opcode === 0xff) return this.indirect((bytes[op + 1] >> 3) & 7, memory, rex);
    const immediate = opcode === 0xc7 || opcode === 0x81 ? signExtended(getI32(bytes, next - this.base - 4)) : -1;
    const isCompare = opcode === 0x81 && ((bytes[op + 1] >> 3) & 7) === 7;
    if (memory.kind === "register") {
      if (!isCompare) this.reference(immediate);
      return "goes on";
    }
    const register = ((bytes[op + 1] >> 3) & 7) | ((rex & 4) << 1);
    if (memory.kind === "fixed") {
      const { address } = memory;
      if (opcode === 0x8d) this.reference(address);
      else if (opcode === 0xc7) this.push(EVENT.storeConstant, 0, address, immediate);
      else if (opcode === 0x89) this.push(EVENT.storeRegister, register, address);
      else if (opcode === 0x8b) this.push(EVENT.load, register, address);
      return "goes on";
    }
    if (memory.table < TABLES_END) this.reference(memory.table);
    if (!isCompare) this.reference(immediate);
    if (this.based && memory.kind === "based" && (opcode === 0xc7 || opcode === 0x89)) {
      const value = opcode === 0xc7 ? immediate : -2 - register;
      this.push(EVENT.storeBased, memory.base, memory.displacement, value);
    }
    return "goes on";
  }

  /** Group 5: call, jmp and push of memory or a register. */
  private indirect(operation: number, memory: MemoryOperand, rex: number): Ending {
    const jumps = operation === 4;
    if (operation !== 2 && !jumps) return "goes on";
    if (memory.kind === "register") this.push(EVENT.callRegister, memory.base | ((rex & 1) << 3), 0);
    else if (memory.kind === "fixed") this.push(EVENT.callSlot, 0, memory.address);
    else if (!jumps) this.push(EVENT.callMemory, 0, memory.table < TABLES_END ? memory.table : -1);
    return jumps ? "stops" : "goes on";
  }
}

export interface MemoryOperand {
  /** "register": none at all. "fixed": RIP-relative or absolute. "based": one base register. */
  readonly kind: "register" | "fixed" | "based" | "indexed" | "segment";
  /** of "fixed"; -1 when it is outside the kernel's 2 GiB */
  readonly address: KernelOffset;
  /** the base register, or with "register" the operand itself without REX.B */
  readonly base: number;
  readonly displacement: number;
  /** the displacement taken as the address of a table; -1 when it is none */
  readonly table: KernelOffset;
}

/**
 * The r/m operand of an instruction with a ModRM byte behind a one-byte opcode.
 * @param from offset in `bytes` of the instruction, `op` of its opcode; `next` is the following instruction's position
 */
export function memoryOperand(
  bytes: Uint8Array,
  from: number,
  op: number,
  rex: number,
  next: KernelOffset,
): MemoryOperand {
  const modrm = bytes[op + 1];
  const mod = modrm >> 6;
  const rm = modrm & 7;
  if (mod === 3) return { kind: "register", address: -1, base: rm, displacement: 0, table: -1 };
  const sib = rm === 4 ? bytes[op + 2] : -1;
  const indexed = sib >= 0 && (((sib >> 3) & 7) !== 4 || (rex & 2) !== 0);
  const noBase = mod === 0 && (sib < 0 ? rm === 5 : (sib & 7) === 5);
  const at = op + (sib < 0 ? 2 : 3);
  const displacement = mod === 1 ? (bytes[at] << 24) >> 24 : mod === 2 || noBase ? getI32(bytes, at) : 0;
  const base = (sib < 0 ? rm : sib & 7) | ((rex & 1) << 3);
  for (let i = from; i < op; i++) {
    if (bytes[i] === 0x64 || bytes[i] === 0x65) return { kind: "segment", address: -1, base, displacement, table: -1 };
  }
  const table = noBase && sib < 0 ? -1 : signExtended(displacement);
  if (indexed) return { kind: "indexed", address: -1, base, displacement, table };
  if (!noBase) return { kind: "based", address: -1, base, displacement, table };
  const address = sib < 0 ? next + displacement : table;
  return { kind: "fixed", address, base, displacement, table: -1 };
}
