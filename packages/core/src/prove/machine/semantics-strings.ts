// String instructions, one element at a time: a REP form stays at its own address until RCX is 0, so that every element is
// an instruction of its own to the machine.
import * as iced from "iced-x86";
import type { Builder, Semantics } from "./effects.ts";
import { subtract } from "./flags.ts";
import type { Access, Bus } from "./operation.ts";
import {
  type CpuRegisterFile,
  DF,
  MASK64,
  RAX,
  RCX,
  RDI,
  RSI,
  readRegister,
  type Size,
  writeRegister,
  ZF,
} from "./registers.ts";

type Element = (cpu: CpuRegisterFile, bus: Bus, size: Size) => void;
type Reads = "source" | "destination";

const ADDRESS_OF: Readonly<Record<Reads, number>> = { source: RSI, destination: RDI };

function advance(cpu: CpuRegisterFile, register: number, size: Size): void {
  const by = (cpu.flags & DF) !== 0 ? -BigInt(size) : BigInt(size);
  cpu.general[register] = (cpu.general[register] + by) & MASK64;
}

/** @param until REPE and REPNE: ends the repetition by ZF */
function string(size: Size, reads: readonly Reads[], element: Element, until = false): Builder {
  return (instruction) => {
    const repeats = instruction.hasRepPrefix || instruction.hasRepnePrefix;
    const stopAtEqual = instruction.hasRepnePrefix;
    const self = instruction.ip;
    const some = (cpu: CpuRegisterFile): boolean => !repeats || cpu.general[RCX] !== 0n;
    const accesses = reads.map((which): Access => {
      const register = ADDRESS_OF[which];
      return { kind: "load", size, address: (cpu) => cpu.general[register], when: some };
    });
    return {
      accesses,
      // Fast string operations may store in any order (SDM volume 3, 9.2.4).
      unordered: repeats,
      run: (cpu, bus) => {
        if (!some(cpu)) return;
        element(cpu, bus, size);
        if (!repeats) return;
        cpu.general[RCX] = (cpu.general[RCX] - 1n) & MASK64;
        const ended = until && ((cpu.flags & ZF) !== 0) === stopAtEqual;
        if (cpu.general[RCX] !== 0n && !ended) cpu.rip = self;
      },
    };
  };
}

const stos: Element = (cpu, bus, size) => {
  bus.store(cpu.general[RDI], size, readRegister(cpu, RAX, size, false));
  advance(cpu, RDI, size);
};

const movs: Element = (cpu, bus, size) => {
  bus.store(cpu.general[RDI], size, bus.load(cpu.general[RSI], size));
  advance(cpu, RSI, size);
  advance(cpu, RDI, size);
};

const lods: Element = (cpu, bus, size) => {
  writeRegister(cpu, RAX, size, false, bus.load(cpu.general[RSI], size));
  advance(cpu, RSI, size);
};

const scas: Element = (cpu, bus, size) => {
  subtract(cpu, readRegister(cpu, RAX, size, false), bus.load(cpu.general[RDI], size), 0n, size);
  advance(cpu, RDI, size);
};

export const STRING_SEMANTICS: Semantics = new Map<iced.Mnemonic, Builder>([
  [iced.Mnemonic.Stosb, string(1, [], stos)],
  [iced.Mnemonic.Stosw, string(2, [], stos)],
  [iced.Mnemonic.Stosd, string(4, [], stos)],
  [iced.Mnemonic.Stosq, string(8, [], stos)],
  [iced.Mnemonic.Movsb, string(1, ["source"], movs)],
  [iced.Mnemonic.Movsw, string(2, ["source"], movs)],
  [iced.Mnemonic.Movsd, string(4, ["source"], movs)],
  [iced.Mnemonic.Movsq, string(8, ["source"], movs)],
  [iced.Mnemonic.Lodsb, string(1, ["source"], lods)],
  [iced.Mnemonic.Lodsw, string(2, ["source"], lods)],
  [iced.Mnemonic.Lodsd, string(4, ["source"], lods)],
  [iced.Mnemonic.Lodsq, string(8, ["source"], lods)],
  [iced.Mnemonic.Scasb, string(1, ["destination"], scas, true)],
  [iced.Mnemonic.Scasw, string(2, ["destination"], scas, true)],
  [iced.Mnemonic.Scasd, string(4, ["destination"], scas, true)],
  [iced.Mnemonic.Scasq, string(8, ["destination"], scas, true)],
]);
