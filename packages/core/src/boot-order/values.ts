// What a register holds at a call or a store, told by the instructions just before it: a constant, or what a fixed
// address held. Looks back through straight code only; where control flows together, the answer is unknown.
import * as iced from "iced-x86";
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32 } from "../x86/encode.ts";
import { opcodeIndex } from "../x86/instructions.ts";
import type { EventReader } from "./event-reader.ts";
import { memoryOperand } from "./events.ts";

export type Value =
  /** a kernel address */
  | { readonly kind: "address"; readonly offset: KernelOffset }
  /** what the 8 bytes at a fixed address hold */
  | { readonly kind: "slot"; readonly offset: KernelOffset }
  | { readonly kind: "number"; readonly value: number };

/** Instructions looked back over; a definition further away is not worth the search. */
const REACH = 48;
/** rax, rcx, rdx, rsi, rdi, r8 … r11: a call may change them. */
const CALLER_SAVED = new Set([0, 1, 2, 6, 7, 8, 9, 10, 11]);

interface Code {
  readonly starts: Int32Array;
  /** offsets to which something in the function jumps */
  readonly targets: Set<KernelOffset>;
}

export class ValueTracker {
  private readonly info = new iced.InstructionInfoFactory();
  private readonly instruction = new iced.Instruction();
  private code: Code = { starts: new Int32Array(), targets: new Set() };
  private current = -1;
  /** Answers by place and register: each half of each boot asks again. */
  private readonly known = new Map<number, Value | undefined>();

  constructor(private readonly events: EventReader) {}

  free(): void {
    this.info.free();
    this.instruction.free();
  }

  /** What `register` holds before the instruction at `at` runs; undefined when unknown. */
  before(at: KernelOffset, register: number): Value | undefined {
    const key = at * 16 + register;
    let value = this.known.get(key);
    if (value === undefined && !this.known.has(key)) {
      value = this.find(at, register);
      this.known.set(key, value);
    }
    return value;
  }

  private find(at: KernelOffset, register: number): Value | undefined {
    const index = this.events.image.functionAt(at);
    if (index < 0) return undefined;
    if (this.current !== index) this.load(index);
    const { starts } = this.code;
    const position = lowerBound(starts, at);
    return starts[position] === at ? this.back(position, register, REACH) : undefined;
  }

  private load(index: number): void {
    const { image } = this.events;
    const start = image.functions[index];
    const end = image.functionEnd(index);
    const section = image.section(start);
    const starts: number[] = [];
    const targets = new Set<KernelOffset>();
    this.events.instructions(start, end, (at, length) => {
      starts.push(at);
      if (section === undefined) return;
      const { bytes } = section;
      const op = opcodeIndex(bytes, at - section.start);
      const opcode = bytes[op];
      if (opcode === 0xeb || (opcode & 0xf0) === 0x70 || (opcode & 0xfc) === 0xe0) {
        targets.add(at + length + ((bytes[op + 1] << 24) >> 24));
      } else if (opcode === 0xe9) targets.add(at + length + getI32(bytes, op + 1));
      else if (opcode === 0x0f && (bytes[op + 1] & 0xf0) === 0x80) targets.add(at + length + getI32(bytes, op + 2));
    });
    this.code = { starts: Int32Array.from(starts), targets };
    this.current = index;
  }

  private back(position: number, wanted: number, steps: number): Value | undefined {
    const { starts, targets } = this.code;
    const { image } = this.events;
    let register = wanted;
    for (let i = position; i > 0 && steps > 0; i--, steps--) {
      if (targets.has(starts[i])) return undefined; // control may come from elsewhere
      const at = starts[i - 1];
      const section = image.section(at);
      if (section === undefined) return undefined;
      const { bytes } = section;
      const from = at - section.start;
      const op = opcodeIndex(bytes, from);
      const next = starts[i];
      const opcode = bytes[op];
      if (opcode === 0xe9 || opcode === 0xeb || opcode === 0xc3) return undefined;
      if (opcode === 0xe8) {
        if (CALLER_SAVED.has(register)) return undefined;
        continue;
      }
      const rex = op > from && (bytes[op - 1] & 0xf0) === 0x40 ? bytes[op - 1] : 0;
      const modrm = bytes[op + 1];
      const reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
      const rm = (modrm & 7) | ((rex & 1) << 3);
      const isRegister = modrm >> 6 === 3;
      const isMove = (opcode === 0x8b && reg === register) || (opcode === 0x89 && rm === register);
      if (isRegister && isMove && (rex & 8) !== 0) {
        register = opcode === 0x8b ? rm : reg;
        continue;
      }
      if (opcode >= 0xb8 && opcode <= 0xbf && ((opcode & 7) | ((rex & 1) << 3)) === register) {
        const low = getI32(bytes, op + 1);
        if ((rex & 8) === 0) return { kind: "number", value: low >>> 0 };
        return getI32(bytes, op + 5) === -1 && low < 0 ? { kind: "address", offset: low + 2 ** 31 } : undefined;
      }
      if ((opcode === 0x31 || opcode === 0x33) && isRegister && reg === rm && reg === register) {
        return { kind: "number", value: 0 };
      }
      if ((rex & 8) !== 0 && (opcode === 0x8d || opcode === 0x8b || opcode === 0xc7)) {
        if (opcode === 0xc7 && isRegister && rm === register) {
          const value = getI32(bytes, op + 2);
          return value < 0 ? { kind: "address", offset: value + 2 ** 31 } : { kind: "number", value };
        }
        const memory = memoryOperand(bytes, from, op, rex, next);
        if (opcode !== 0xc7 && reg === register && memory.kind === "fixed" && memory.address >= 0) {
          return { kind: opcode === 0x8d ? "address" : "slot", offset: memory.address };
        }
      }
      if (this.writes(bytes, from, next - at, register)) return undefined;
    }
    return undefined;
  }

  private writes(bytes: Uint8Array, from: number, length: number, register: number): boolean {
    const decoder = new iced.Decoder(64, bytes.subarray(from, from + length), iced.DecoderOptions.None);
    try {
      decoder.decodeOut(this.instruction);
      let written = false;
      for (const used of this.info.info(this.instruction).usedRegisters()) {
        const { access } = used;
        const full = iced.RegisterExt.fullRegister(used.register);
        used.free();
        if (access === iced.OpAccess.Read || access === iced.OpAccess.CondRead) continue;
        if (full === iced.Register.RAX + register) written = true;
      }
      return written;
    } finally {
      decoder.free();
    }
  }
}

function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
