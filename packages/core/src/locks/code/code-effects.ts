// What a lock function's machine code does to the lock word, for functions whose symbols tell nothing: every access
// through the first argument (%rdi) or a copy of it, and the calls that hand it on.
import * as iced from "iced-x86";
import { type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";

export type WordOperation = "xadd" | "cmpxchg" | "xchg" | "inc" | "dec" | "add" | "sub" | "bts" | "store" | "load";

export interface WordEffect {
  readonly operation: WordOperation;
  /** bytes */
  readonly width: number;
  /** bytes from the lock word's start */
  readonly offset: number;
  /** of `add`, `sub`, `store`, where it is one */
  readonly immediate?: bigint;
}

export interface CodeCall {
  readonly target: KernelOffset;
  /** a jump out of the function */
  readonly tail: boolean;
  /** %rdi still holds the lock there */
  readonly handsOn: boolean;
}

/** A call through a place in memory: a paravirt site that was never patched. */
export interface SlotCall {
  readonly slot: KernelOffset;
  readonly handsOn: boolean;
}

export interface CodeEffects {
  readonly effects: readonly WordEffect[];
  readonly calls: readonly CodeCall[];
  readonly slotCalls: readonly SlotCall[];
}

// Functions rather than constants: a page loads the decoder behind this module.
const operations = once<ReadonlyMap<iced.Mnemonic, WordOperation>>(
  () =>
    new Map([
      [iced.Mnemonic.Xadd, "xadd"],
      [iced.Mnemonic.Cmpxchg, "cmpxchg"],
      [iced.Mnemonic.Xchg, "xchg"],
      [iced.Mnemonic.Inc, "inc"],
      [iced.Mnemonic.Dec, "dec"],
      [iced.Mnemonic.Add, "add"],
      [iced.Mnemonic.Sub, "sub"],
      [iced.Mnemonic.Bts, "bts"],
    ]),
);

/** Mnemonics whose first operand is only read. */
const reads = once<ReadonlySet<iced.Mnemonic>>(
  () => new Set([iced.Mnemonic.Cmp, iced.Mnemonic.Test, iced.Mnemonic.Bt, iced.Mnemonic.Push, iced.Mnemonic.Prefetchw]),
);

const callClobbered = once<readonly iced.Register[]>(() => [
  iced.Register.RAX,
  iced.Register.RCX,
  iced.Register.RDX,
  iced.Register.RSI,
  iced.Register.RDI,
  iced.Register.R8,
  iced.Register.R9,
  iced.Register.R10,
  iced.Register.R11,
]);

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/**
 * One pass over a function's bytes in address order. Precise enough for lock functions, which keep the lock's address in
 * one register; a POP of it in an epilogue is passed over, since the code behind belongs to other paths.
 * @param bytes the function as it stands in the dump
 * @param start its address
 */
export function codeEffects(bytes: Uint8Array, start: bigint): CodeEffects {
  const effects: WordEffect[] = [];
  const calls: CodeCall[] = [];
  const slotCalls: SlotCall[] = [];
  const end = start + BigInt(bytes.length);
  const holders = new Set<iced.Register>([iced.Register.RDI]);
  const code = bytes.subarray(0, codeLength(bytes));
  const decoder = new iced.Decoder(64, code, iced.DecoderOptions.None);
  const instruction = new iced.Instruction();
  try {
    decoder.ip = start;
    while (decoder.canDecode) {
      decoder.decodeOut(instruction);
      if (instruction.code === iced.Code.INVALID) break;
      const flow = instruction.flowControl;
      if (flow === iced.FlowControl.Call || flow === iced.FlowControl.UnconditionalBranch) {
        const target = toKernelOffset(instruction.nearBranchTarget);
        const inside = instruction.nearBranchTarget >= start && instruction.nearBranchTarget < end;
        const call = flow === iced.FlowControl.Call;
        if (target !== undefined && (call || !inside)) {
          calls.push({ target, tail: !call, handsOn: holders.has(iced.Register.RDI) });
        }
        // The tracer's call, at the entry or behind ENDBR or `push %rbp; mov %rsp,%rbp`, keeps all registers.
        const tracer = instruction.ip === start || instruction.ip === start + 4n;
        if (call && !tracer) for (const register of callClobbered()) holders.delete(register);
        continue;
      }
      if (flow === iced.FlowControl.IndirectCall || flow === iced.FlowControl.IndirectBranch) {
        const absolute = instruction.memoryBase === iced.Register.None || instruction.isIpRelMemoryOperand;
        const memory = instruction.opKind(0) === iced.OpKind.Memory && instruction.memoryIndex === iced.Register.None;
        const slot = memory && absolute ? toKernelOffset(slotAddress(instruction)) : undefined;
        if (slot !== undefined) slotCalls.push({ slot, handsOn: holders.has(iced.Register.RDI) });
        // What lock functions call through slots besides lock operations (interrupts off and on) keeps %rdi.
        continue;
      }
      const effect = effectOf(instruction, holders);
      if (effect !== undefined) effects.push(effect);
      trackHolders(instruction, holders);
    }
  } finally {
    instruction.free();
    decoder.free();
  }
  return { effects, calls, slotCalls };
}

/** Bytes before a run of 16 zeros or INT3s: what follows a section's last function is no code of its own. */
function codeLength(bytes: Uint8Array): number {
  for (let i = 0, run = 0; i < bytes.length; i++) {
    const filler = bytes[i] === 0 || bytes[i] === 0xcc;
    run = filler && (run === 0 || bytes[i] === bytes[i - 1]) ? run + 1 : filler ? 1 : 0;
    if (run === 16) return i - 15;
  }
  return bytes.length;
}

/** `*disp32` is sign-extended by the processor; `*disp(%rip)` iced has added up already. */
function slotAddress(instruction: iced.Instruction): bigint {
  const displacement = instruction.memoryDisplacement;
  return instruction.isIpRelMemoryOperand ? displacement : BigInt.asUintN(64, BigInt.asIntN(32, displacement));
}

function effectOf(instruction: iced.Instruction, holders: ReadonlySet<iced.Register>): WordEffect | undefined {
  let memoryOperand = -1;
  for (let i = 0; i < Math.min(instruction.opCount, 2); i++) {
    if (instruction.opKind(i) === iced.OpKind.Memory) memoryOperand = i;
  }
  if (memoryOperand < 0 || instruction.memoryIndex !== iced.Register.None) return undefined;
  if (!holders.has(instruction.memoryBase) || instruction.mnemonic === iced.Mnemonic.Lea) return undefined;
  if (instruction.mnemonic === iced.Mnemonic.Nop) return undefined;
  const width = iced.MemorySizeExt.size(instruction.memorySize);
  const offset = Number(BigInt.asIntN(64, instruction.memoryDisplacement));
  const last = instruction.opCount - 1;
  const kind = instruction.opKind(last);
  const immediate =
    kind !== iced.OpKind.Register && kind !== iced.OpKind.Memory && last > 0 ? instruction.immediate(last) : undefined;
  const operation =
    operations().get(instruction.mnemonic) ??
    (memoryOperand === 0 && !reads().has(instruction.mnemonic) ? "store" : "load");
  // xchg may name its operands in either order; the others change memory only as their first operand.
  if (memoryOperand !== 0 && operation !== "xchg") return { operation: "load", width, offset };
  return { operation, width, offset, immediate };
}

function trackHolders(instruction: iced.Instruction, holders: Set<iced.Register>): void {
  if (instruction.opCount === 0 || instruction.opKind(0) !== iced.OpKind.Register) return;
  const { mnemonic } = instruction;
  if (reads().has(mnemonic) || mnemonic === iced.Mnemonic.Pop || mnemonic === iced.Mnemonic.Nop) return;
  const written = iced.RegisterExt.fullRegister(instruction.opRegister(0));
  const copies =
    mnemonic === iced.Mnemonic.Mov &&
    instruction.opKind(1) === iced.OpKind.Register &&
    holders.has(instruction.opRegister(1));
  if (copies) holders.add(written);
  else holders.delete(written);
}
