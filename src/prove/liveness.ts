// Which registers and flags the code at an address can still read. A local state forgets the others: two CPUs that
// differ only in what a spin loop read last time are the same state. Everything is live where the code ahead is not
// plainly known (returns, calls, indirect jumps), so that forgetting never changes what the code does.
import * as iced from "iced-x86";
import { virtualAddress } from "../bytes/brand.ts";
import { AF, CF, OF, PF, SF, ZF } from "./registers.ts";
import type { CodeMemory } from "./types.ts";

/** A set of register lanes and flags. `low`: bit r = byte 0 of register r, bit 16+r = byte 1; `high`: bit r = the rest. */
export interface Live {
  readonly low: number;
  readonly high: number;
  /** CF, PF … as in RFLAGS */
  readonly flags: number;
}

const ALL: Live = { low: -1, high: 0xffff, flags: OF | SF | ZF | AF | CF | PF };
const NONE: Live = { low: 0, high: 0, flags: 0 };
const MAX_REGION = 2000;
const LONGEST_INSTRUCTION = 15;

interface Node {
  readonly use: Live;
  /** overwritten without being read */
  readonly kill: Live;
  /** undefined: leaves the known code, everything is live */
  readonly next: readonly bigint[] | undefined;
}

const union = (a: Live, b: Live): Live => ({ low: a.low | b.low, high: a.high | b.high, flags: a.flags | b.flags });
const minus = (a: Live, b: Live): Live => ({ low: a.low & ~b.low, high: a.high & ~b.high, flags: a.flags & ~b.flags });
const equal = (a: Live, b: Live): boolean => a.low === b.low && a.high === b.high && a.flags === b.flags;

function lanesOf(register: iced.Register): Live {
  const full = iced.RegisterExt.fullRegister(register);
  if (full < iced.Register.RAX || full > iced.Register.R15) return NONE;
  const bit = 1 << (full - iced.Register.RAX);
  const size = iced.RegisterExt.size(register);
  if (size >= 4) return { low: bit | (bit << 16), high: bit, flags: 0 };
  if (size === 2) return { low: bit | (bit << 16), high: 0, flags: 0 };
  const high = register >= iced.Register.AH && register <= iced.Register.BH;
  return { low: high ? bit << 16 : bit, high: 0, flags: 0 };
}

function flagsOf(bits: number): Live {
  const flags =
    (bits & iced.RflagsBits.OF ? OF : 0) |
    (bits & iced.RflagsBits.SF ? SF : 0) |
    (bits & iced.RflagsBits.ZF ? ZF : 0) |
    (bits & iced.RflagsBits.AF ? AF : 0) |
    (bits & iced.RflagsBits.CF ? CF : 0) |
    (bits & iced.RflagsBits.PF ? PF : 0);
  return { low: 0, high: 0, flags };
}

const READS: ReadonlySet<iced.OpAccess> = new Set([
  iced.OpAccess.Read,
  iced.OpAccess.CondRead,
  iced.OpAccess.ReadWrite,
  iced.OpAccess.ReadCondWrite,
]);
/** A shift or rotate by CL leaves the flags alone when CL is 0. */
const MAYBE_FLAGS: ReadonlySet<iced.Mnemonic> = new Set([
  iced.Mnemonic.Shl,
  iced.Mnemonic.Sal,
  iced.Mnemonic.Shr,
  iced.Mnemonic.Sar,
  iced.Mnemonic.Rol,
  iced.Mnemonic.Ror,
]);

export class Liveness {
  private readonly live = new Map<bigint, Live>();
  private readonly nodes = new Map<bigint, Node>();

  /** @param isEnd addresses at which the model takes over: hooks, ends of sites */
  constructor(
    private readonly memory: CodeMemory,
    private readonly isEnd: (address: bigint) => boolean,
  ) {}

  /** What is live before the instruction at `address` runs. */
  at(address: bigint): Live {
    let live = this.live.get(address);
    if (live === undefined) {
      this.solve(address);
      live = this.live.get(address) ?? ALL;
      this.live.set(address, live);
    }
    return live;
  }

  /** Backward data flow over all code that plain jumps reach from `start`. */
  private solve(start: bigint): void {
    const region: bigint[] = [];
    const work = [start];
    const met = new Set(work);
    for (let address = work.pop(); address !== undefined; address = work.pop()) {
      if (region.push(address) > MAX_REGION) return;
      for (const next of this.node(address).next ?? []) {
        if (met.has(next)) continue;
        met.add(next);
        work.push(next);
      }
    }
    const live = new Map<bigint, Live>(region.map((address) => [address, NONE]));
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = region.length - 1; i >= 0; i--) {
        const { use, kill, next } = this.node(region[i]);
        const after = next === undefined ? ALL : next.map((n) => live.get(n) ?? ALL).reduce(union, NONE);
        const before = union(use, minus(after, kill));
        if (equal(before, live.get(region[i]) ?? NONE)) continue;
        live.set(region[i], before);
        changed = true;
      }
    }
    for (const [address, value] of live) this.live.set(address, value);
  }

  private node(address: bigint): Node {
    let node = this.nodes.get(address);
    if (node === undefined) {
      node = this.isEnd(address) ? { use: ALL, kill: NONE, next: undefined } : this.decode(address);
      this.nodes.set(address, node);
    }
    return node;
  }

  private decode(address: bigint): Node {
    const unknown: Node = { use: ALL, kill: NONE, next: undefined };
    let bytes: Uint8Array;
    try {
      bytes = this.memory.read(virtualAddress(address), LONGEST_INSTRUCTION);
    } catch {
      return unknown;
    }
    const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
    decoder.ip = address;
    const instruction = decoder.decode();
    try {
      return instruction.isInvalid ? unknown : nodeOf(instruction);
    } finally {
      instruction.free();
      decoder.free();
    }
  }
}

function nodeOf(instruction: iced.Instruction): Node {
  const factory = new iced.InstructionInfoFactory();
  const info = factory.info(instruction);
  try {
    let use = flagsOf(instruction.rflagsRead);
    let kill: Live = MAYBE_FLAGS.has(instruction.mnemonic) ? NONE : flagsOf(instruction.rflagsModified);
    for (const used of info.usedRegisters()) {
      const lanes = lanesOf(used.register);
      if (READS.has(used.access)) use = union(use, lanes);
      else if (used.access === iced.OpAccess.Write) kill = union(kill, lanes);
      used.free();
    }
    return { use, kill, next: successorsOf(instruction) };
  } finally {
    info.free();
    factory.free();
  }
}

function successorsOf(instruction: iced.Instruction): bigint[] | undefined {
  switch (instruction.flowControl) {
    case iced.FlowControl.Next:
      return [instruction.nextIP];
    case iced.FlowControl.ConditionalBranch:
      return [instruction.nextIP, instruction.nearBranchTarget];
    case iced.FlowControl.UnconditionalBranch:
      return [instruction.nearBranchTarget];
    default:
      return undefined;
  }
}
