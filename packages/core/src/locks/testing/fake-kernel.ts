// A kernel of a few bytes for tests: memory given as runs at addresses, symbols by name, layouts from a list. Only what
// lock code asks for is there.
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError, MissingError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { Structures } from "../../kernel/layouts/structures.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import { arraySymbolTable } from "../../symbols/array-symbols.ts";
import { ShapeTypes, type StructShape } from "../../symbols/known-shapes/shape-types.ts";

/** Address and "e8 00 …" of each run of memory. */
export type Runs = readonly (readonly [bigint, string])[];

/** A little-endian s32 as text: an immediate, or a rel32. */
export function long(value: number): string {
  return Array.from({ length: 4 }, (_, i) => ((value >> (8 * i)) & 0xff).toString(16).padStart(2, "0")).join(" ");
}

const hexBytes = (text: string): Uint8Array =>
  Uint8Array.from(
    text.split(/\s+/).filter((part) => part !== ""),
    (part) => Number.parseInt(part, 16),
  );

/** Little-endian bytes of a 64-bit value as text, for runs. */
export function quad(value: bigint): string {
  return Array.from({ length: 8 }, (_, i) => ((value >> BigInt(8 * i)) & 0xffn).toString(16).padStart(2, "0")).join(
    " ",
  );
}

/** A task_struct of this file's shape: pid, comm. */
export function taskBytes(pid: number, comm: string): string {
  const name = Array.from({ length: 16 }, (_, i) => (comm.charCodeAt(i) || 0).toString(16).padStart(2, "0")).join(" ");
  return `${quad(0n)} ${quad(BigInt(pid))} ${name}`;
}

const TASK: StructShape = {
  name: "struct task_struct",
  members: [
    ["__state", 0, "u32"],
    ["pid", 8, "int"],
    ["comm", 16, "char[16]"],
  ],
};

export function fakeKernel(
  runs: Runs,
  symbols: Readonly<Record<string, bigint>> = {},
  shapes: readonly StructShape[] = [],
): Kernel {
  const memory = new FakeMemory(runs);
  const types = new ShapeTypes("test", [TASK, ...shapes]);
  const table = arraySymbolTable(
    Object.entries(symbols).map(([name, address]) => ({ name, address: virtualAddress(address), type: "T" })),
  );
  const find = (name: string): VirtualAddress | undefined => table.lookup(name)?.address;
  const parts = {
    memory: memory as unknown as VirtualMemory,
    types,
    structures: new Structures(memory as unknown as VirtualMemory, types),
    symbols: table,
    allSymbols: table,
    modules: [],
    problems: [],
    initFreed: true,
    dump: { path: "test", format: "elf", size: 0, cpus: [], notes: [], segments: [], problems: [] },
    find,
    address: (name: string) => {
      const found = find(name);
      if (found === undefined) throw new MissingError(`the symbol ${name}`);
      return found;
    },
  };
  return parts as unknown as Kernel;
}

class FakeMemory {
  private readonly runs: { start: bigint; bytes: Uint8Array }[];
  constructor(runs: Runs) {
    this.runs = runs.map(([start, text]) => ({ start, bytes: hexBytes(text) }));
  }
  tryRead(address: bigint, length: number): Uint8Array | undefined {
    const run = this.runs.find(
      ({ start, bytes }) => address >= start && address + BigInt(length) <= start + BigInt(bytes.length),
    );
    return run?.bytes.slice(Number(address - run.start), Number(address - run.start) + length);
  }
  read(address: bigint, length: number): Uint8Array {
    const bytes = this.tryRead(address, length);
    if (bytes === undefined) throw new AddressError(address, "page", "not in the dump");
    return bytes;
  }
  readPresent(address: bigint, into: Uint8Array): void {
    for (const { start, bytes } of this.runs) {
      const from = start > address ? start : address;
      const end = [start + BigInt(bytes.length), address + BigInt(into.length)].reduce((a, b) => (a < b ? a : b));
      if (from < end) into.set(bytes.subarray(Number(from - start), Number(end - start)), Number(from - address));
    }
  }
  tryTranslate(address: bigint): { pageSize: number } | undefined {
    return this.tryRead(address, 1) && { pageSize: 4096 };
  }
  private view(address: bigint, length: number): DataView {
    return new DataView(this.read(address, length).buffer);
  }
  u8(address: bigint): number {
    return this.view(address, 1).getUint8(0);
  }
  u16(address: bigint): number {
    return this.view(address, 2).getUint16(0, true);
  }
  u32(address: bigint): number {
    return this.view(address, 4).getUint32(0, true);
  }
  i32(address: bigint): number {
    return this.view(address, 4).getInt32(0, true);
  }
  u64(address: bigint): bigint {
    return this.view(address, 8).getBigUint64(0, true);
  }
  pointer(address: bigint): VirtualAddress {
    return virtualAddress(this.u64(address));
  }
  cstring(address: bigint, max = 16): string {
    const bytes = this.read(address, max);
    const end = bytes.indexOf(0);
    return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}
