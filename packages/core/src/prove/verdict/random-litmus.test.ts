// Random little programs, all outcomes against a naive x86-TSO enumerator that takes every step by itself and reduces
// nothing: the check that fused steps, forgotten registers and learnt sharing lose no outcome and invent none.
import { expect, test } from "vitest";
import { registerNumber } from "../machine/registers.ts";
import { explore } from "../search/explorer.ts";
import {
  codeAddress,
  exchange,
  increment,
  load,
  lockedIncrement,
  memoryOf,
  mfence,
  R,
  ret,
  store,
  store8,
  VARIABLES,
  X,
  Y,
} from "../testing/code.ts";
import type { MemoryModel } from "../types.ts";

type Op =
  | { readonly kind: "store" | "exchange" | "byte"; readonly place: number; readonly value: number }
  | { readonly kind: "load"; readonly place: number; readonly register: number }
  | { readonly kind: "increment" | "locked"; readonly place: number }
  | { readonly kind: "fence" };

/** Registers that loads may write; EXCHANGE uses EAX. */
const REGISTERS = [R.ecx, R.edx, R.ebx] as const;
const NAMES = ["rax", "rcx", "rdx", "rbx"] as const;

function encode(op: Op): string {
  switch (op.kind) {
    case "store":
      return store(op.place, op.value);
    case "byte":
      return store8(op.place + 1, op.value);
    case "exchange":
      return exchange(op.place, op.value);
    case "load":
      return load(REGISTERS[op.register], op.place);
    case "increment":
      return increment(op.place);
    case "locked":
      return lockedIncrement(op.place);
    case "fence":
      return mfence;
  }
}

/** One CPU of the naive machine: RAX, RCX, RDX, RBX; stores of (byte address, byte values). */
interface NaiveCpu {
  pc: number;
  registers: number[];
  buffer: { place: number; bytes: number[] }[];
  /** what the load half of `incl` read */
  half: number | undefined;
}
interface Naive {
  cpus: NaiveCpu[];
  memory: Record<number, number>;
}

const word = (bytes: readonly number[]): number => bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
const split = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const at = (s: Naive, place: number): number => s.memory[place] ?? 0;

function readWord(s: Naive, cpu: NaiveCpu, place: number): number {
  return word(
    [0, 1, 2, 3].map((i) => {
      for (const entry of cpu.buffer.toReversed()) {
        const byte = entry.bytes[place + i - entry.place];
        if (byte !== undefined) return byte;
      }
      return at(s, place + i);
    }),
  );
}

function naiveOutcomes(programs: readonly (readonly Op[])[], model: MemoryModel): string[] {
  const first: Naive = {
    cpus: programs.map(() => ({ pc: 0, registers: [0, 0, 0, 0], buffer: [], half: undefined })),
    memory: {},
  };
  const seen = new Set<string>();
  const found = new Set<string>();
  const work = [first];
  const flush = (s: Naive, { place, bytes }: { place: number; bytes: number[] }): void => {
    bytes.forEach((byte, i) => {
      s.memory[place + i] = byte;
    });
  };
  const step = (s: Naive, cpu: NaiveCpu, op: Op): boolean => {
    const write = (place: number, bytes: number[]): void => {
      if (model === "sc") flush(s, { place, bytes });
      else cpu.buffer.push({ place, bytes });
    };
    const locked = op.kind === "exchange" || op.kind === "locked" || op.kind === "fence";
    if (locked && cpu.buffer.length > 0) return false;
    if (op.kind === "store") write(op.place, split(op.value));
    if (op.kind === "byte") write(op.place + 1, [op.value]);
    if (op.kind === "load") cpu.registers[op.register + 1] = readWord(s, cpu, op.place);
    if (op.kind === "exchange") {
      cpu.registers[0] = readWord(s, cpu, op.place);
      flush(s, { place: op.place, bytes: split(op.value) });
    }
    if (op.kind === "locked") flush(s, { place: op.place, bytes: split(readWord(s, cpu, op.place) + 1) });
    if (op.kind === "increment") {
      if (cpu.half === undefined) {
        cpu.half = readWord(s, cpu, op.place);
        return true;
      }
      write(op.place, split(cpu.half + 1));
      cpu.half = undefined;
    }
    cpu.pc++;
    return true;
  };
  for (let s = work.pop(); s !== undefined; s = work.pop()) {
    const key = JSON.stringify(s);
    if (seen.has(key)) continue;
    seen.add(key);
    let ended = true;
    for (let i = 0; i < s.cpus.length; i++) {
      if (s.cpus[i].pc < programs[i].length) {
        ended = false;
        const next = structuredClone(s);
        if (step(next, next.cpus[i], programs[i][next.cpus[i].pc])) work.push(next);
      }
      if (s.cpus[i].buffer.length > 0) {
        ended = false;
        const next = structuredClone(s);
        const oldest = next.cpus[i].buffer.shift();
        if (oldest !== undefined) flush(next, oldest);
        work.push(next);
      }
    }
    if (ended) {
      const finals = [X, Y].map((place) => word([0, 1, 2, 3].map((k) => at(s, place + k))));
      found.add([...s.cpus.flatMap((cpu) => cpu.registers), ...finals].map((v) => v.toString(16)).join());
    }
  }
  return [...found].sort();
}

/** `told`: that X and Y are shared; otherwise the explorer has to learn it, and only registers are looked at. */
function machineOutcomes(programs: readonly (readonly Op[])[], model: MemoryModel, told: boolean): string[] {
  const clear = "31 c0 31 c9 31 d2 31 db"; // xor of EAX, ECX, EDX, EBX
  const exploration = explore({
    memory: memoryOf([
      VARIABLES,
      ...programs.map((ops, i) => ({ address: codeAddress(i), hex: [clear, ...ops.map(encode), ret].join(" ") })),
    ]),
    model,
    keepRegisters: true,
    programs: programs.map((_, i) => ({
      rounds: 1,
      phases: [{ kind: "run", entry: { address: codeAddress(i), registers: {} } }],
    })),
    lock: told ? { address: BigInt(X), length: Y + 8 - X } : undefined,
  });
  const found = new Set<string>();
  const { model: m } = exploration;
  const row = new Int32Array(m.width);
  for (const state of exploration.finished) {
    exploration.states.read(state, row);
    const registers = programs.flatMap((_, cpu) =>
      NAMES.map((name) => m.local(row[cpu]).general[registerNumber(name)] & 0xffffffffn),
    );
    const finals = (told ? [X, Y] : []).map((place) => m.memory.peek(row[m.width - 1], BigInt(place), 4));
    found.add([...registers, ...finals].map((v) => v.toString(16)).join());
  }
  return [...found].sort();
}

/** xorshift32: the same programs every time. */
function generator(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

function randomProgram(random: (below: number) => number, length: number, value: number): Op[] {
  return Array.from({ length }, (_, i): Op => {
    const place = random(2) === 0 ? X : Y;
    const kinds = [
      "store",
      "store",
      "store",
      "load",
      "load",
      "load",
      "exchange",
      "increment",
      "locked",
      "byte",
      "fence",
    ];
    const kind = kinds[random(kinds.length)] as Op["kind"];
    if (kind === "load") return { kind, place, register: random(3) };
    if (kind === "fence") return { kind };
    if (kind === "increment" || kind === "locked") return { kind, place };
    return { kind, place, value: value + i };
  });
}

test.each([1, 2, 3, 4])("random programs, batch %i", (seed) => {
  const random = generator(seed * 7919);
  for (let n = 0; n < 18; n++) {
    const shape = n % 3 === 2 ? [2, 2, 2] : n % 3 === 1 ? [4, 4] : [4, 3];
    const programs = shape.map((length, cpu) => randomProgram(random, length, (cpu + 1) * 16));
    for (const model of ["tso", "sc"] as const) {
      const expected = naiveOutcomes(programs, model);
      expect({ programs, outcomes: machineOutcomes(programs, model, true) }).toEqual({ programs, outcomes: expected });
      const registers = [...new Set(expected.map((outcome) => outcome.split(",").slice(0, -2).join()))].sort();
      expect({ programs, outcomes: machineOutcomes(programs, model, false) }).toEqual({
        programs,
        outcomes: registers,
      });
    }
  }
});
