// Builds tiny kernels for the tests of this room: functions as lists of instructions, data as lists of names, and the
// tables that a boot patches by. Everything is linked into one ELF file with a symbol table.
import { BufferSource } from "../../bytes/source.ts";
import { kernelImageOf } from "../../image/kernel-image.ts";
import type { KernelImage } from "../../image/types.ts";
import { buildElf, type FixtureSection } from "../../symbols/testing/build-elf.ts";

/** A place: "smp_ops", "smp_ops+8", ".label" of the function itself. */
export type Place = string;
/** Bytes, and fields that hold the distance from the instruction's end ("relative") or the place itself. */
export type Part = readonly number[] | { readonly relative: Place } | { readonly absolute: Place };
/** One instruction, or a label. */
export type Instruction = readonly Part[] | `${string}:`;

export const RET: Instruction = [[0xc3]];
export const UD2: Instruction = [[0x0f, 0x0b]];
export const call = (to: Place): Instruction => [[0xe8], { relative: to }];
export const jump = (to: Place): Instruction => [[0xe9], { relative: to }];
/** je */
export const jumpIf = (to: Place): Instruction => [[0x0f, 0x84], { relative: to }];
/** cmpl $0, variable(%rip) */
export const test = (variable: Place): Instruction => [[0x83, 0x3d], { relative: variable }, [0]];
/** call *slot(%rip) */
export const callSlot = (slot: Place): Instruction => [[0xff, 0x15], { relative: slot }];
/** call *slot, as 3.0 builds it */
export const callSlotAbsolute = (slot: Place): Instruction => [[0xff, 0x14, 0x25], { absolute: slot }];
/** movq $value, slot(%rip) */
export const store = (slot: Place, value: Place): Instruction => [
  [0x48, 0xc7, 0x05],
  { relative: slot },
  { absolute: value },
];
/** mov $value, %rdi; `register` 7 is rdi */
export const take = (register: number, value: Place): Instruction => [
  [0x48, 0xc7, 0xc0 | register],
  { absolute: value },
];
/** lea value(%rip), register */
export const lea = (register: number, value: Place): Instruction => [
  [0x48, 0x8d, 0x05 | (register << 3)],
  { relative: value },
];
/** mov slot(%rip), register */
export const load = (register: number, slot: Place): Instruction => [
  [0x48, 0x8b, 0x05 | (register << 3)],
  { relative: slot },
];
/** mov register, slot(%rip) */
export const storeRegister = (slot: Place, register: number): Instruction => [
  [0x48, 0x89, 0x05 | (register << 3)],
  { relative: slot },
];
/** mov $number, %ecx and the like */
export const number = (register: number, value: number): Instruction => [[0xb8 | register, value, 0, 0, 0]];
export const code = (...bytes: number[]): Instruction => [bytes];

export interface KernelSpec {
  readonly functions: Readonly<Record<string, readonly Instruction[]>>;
  /** 8-byte pointers by name; "" is NULL. A name of its own may stand in the middle: "next:". */
  readonly data?: Readonly<Record<string, readonly string[]>>;
  /** .parainstructions: places of calls */
  readonly paravirt?: readonly Place[];
  /** .altinstructions of 14 bytes: places of calls, flags 2 */
  readonly directCalls?: readonly Place[];
  /** other sections with bytes of their own */
  readonly sections?: readonly FixtureSection[];
  readonly symbols?: boolean;
}

const TEXT = 0xffffffff81000000n;
const DATA = 0xffffffff81800000n;
const TABLES = 0xffffffff81900000n;

export function buildKernel(spec: KernelSpec): KernelImage {
  const places = new Map<string, bigint>();
  const words: string[] = [];
  for (const [name, list] of Object.entries(spec.data ?? {})) {
    places.set(name, DATA + BigInt(words.length * 8));
    for (const word of list) {
      if (word.endsWith(":")) places.set(word.slice(0, -1), DATA + BigInt(words.length * 8));
      else words.push(word);
    }
  }
  const laid: { owner: string; at: number; parts: readonly Part[] }[] = [];
  let size = 0;
  const starts = new Map<string, number>();
  for (const [owner, list] of Object.entries(spec.functions)) {
    starts.set(owner, size);
    places.set(owner, TEXT + BigInt(size));
    for (const each of list) {
      if (typeof each === "string") {
        places.set(`${owner}${each.slice(0, -1)}`, TEXT + BigInt(size));
        continue;
      }
      laid.push({ owner, at: size, parts: each });
      for (const part of each) size += "length" in part ? part.length : 4;
    }
    size = (size + 15) & ~15;
  }
  const tables = layTables(spec);
  for (const { name, address } of tables) {
    if (name === ".parainstructions") places.set("__parainstructions", address);
    if (name === ".altinstructions") places.set("__alt_instructions", address);
  }
  const find = (place: Place, owner = ""): bigint => {
    const [name, plus] = place.split("+");
    const at = places.get(name.startsWith(".") ? owner + name : name);
    if (at === undefined) throw new Error(`no place ${place}`);
    return at + BigInt(plus ?? 0);
  };
  const text = new Uint8Array(size).fill(0xcc);
  const view = new DataView(text.buffer);
  for (const { owner, at, parts } of laid) {
    const end = TEXT + BigInt(at + parts.reduce((sum, part) => sum + ("length" in part ? part.length : 4), 0));
    let offset = at;
    for (const part of parts) {
      if ("length" in part) {
        text.set(part, offset);
        offset += part.length;
        continue;
      }
      const value = "relative" in part ? find(part.relative, owner) - end : find(part.absolute, owner);
      view.setInt32(offset, Number(BigInt.asIntN(32, value)), true);
      offset += 4;
    }
  }
  const data = new Uint8Array(words.length * 8);
  const dataView = new DataView(data.buffer);
  for (const [i, word] of words.entries()) dataView.setBigUint64(i * 8, word === "" ? 0n : find(word), true);
  const symbols = [...places]
    .filter(([name]) => !name.includes("."))
    .map(([name, value]) => ({ name, value, info: 0x10, section: starts.has(name) ? ".text" : ".data" }));
  const bytes = buildElf(
    2,
    [
      { name: ".text", flags: 6, address: TEXT, bytes: text },
      { name: ".data", flags: 3, address: DATA, bytes: data },
      ...tables.map((table) => ({ ...table, flags: 2, bytes: table.fill(find) })),
      ...(spec.sections ?? []),
    ],
    spec.symbols === false ? undefined : symbols,
  );
  return kernelImageOf("vmlinux", { container: "vmlinux", elf: new BufferSource("vmlinux", bytes) });
}

function layTables(spec: KernelSpec) {
  const out: { name: string; address: bigint; fill: (find: (place: Place) => bigint) => Uint8Array }[] = [];
  const { paravirt, directCalls } = spec;
  if (paravirt !== undefined) {
    out.push({
      name: ".parainstructions",
      address: TABLES,
      fill: (find) => {
        const bytes = new Uint8Array(paravirt.length * 16);
        const view = new DataView(bytes.buffer);
        for (const [i, place] of paravirt.entries()) {
          view.setBigUint64(i * 16, find(place), true);
          bytes[i * 16 + 9] = 7;
        }
        return bytes;
      },
    });
  }
  if (directCalls !== undefined) {
    const address = TABLES + 0x10000n;
    out.push({
      name: ".altinstructions",
      address,
      fill: (find) => {
        const bytes = new Uint8Array(directCalls.length * 14);
        const view = new DataView(bytes.buffer);
        for (const [i, place] of directCalls.entries()) {
          const at = address + BigInt(i * 14);
          view.setInt32(i * 14, Number(find(place) - at), true);
          view.setUint16(i * 14 + 10, 2, true);
          bytes[i * 14 + 12] = 6;
        }
        return bytes;
      },
    });
  }
  return out;
}
