// Locks that code names: a call of mutex_lock() with the address of a variable proves what the variable is, in every kernel,
// with or without debug information. One pass over the machine code of core and modules.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getI32 } from "../../x86/encode.ts";
import { LOCK_FUNCTIONS, type LockKind } from "./lock-kinds.ts";
import { callOperands } from "./operands.ts";

export interface CalledLock {
  readonly kind: LockKind;
  /** "mutex_lock" */
  readonly through: string;
  /** the call */
  readonly at: KernelOffset;
}

/** Text is read in pieces of this size. */
const PIECE = 1 << 20;
/** Bytes in front of a call among which the load of its argument is looked for. */
const BEFORE = 40;
/** Loads further away than the instruction before are followed by decoding; so many at most. */
const MAX_DECODED = 20_000;
/** More locks than any kernel has variables for. */
const MAX_LOCKS = 1 << 16;

interface Range {
  readonly start: KernelOffset;
  readonly end: KernelOffset;
}

/** Every constant address that is handed to a lock function, with all kinds that the calls show. */
export function calledLocks(kernel: Kernel, padding = 0): Map<KernelOffset, CalledLock[]> {
  const out = new Map<KernelOffset, CalledLock[]>();
  const functions = lockFunctions(kernel, padding);
  if (functions.size === 0) return out;
  const text = textRanges(kernel);
  const data = dataRanges(kernel, text);
  const keys = [...functions.keys()];
  const later: Candidate[] = [];
  const scan = { functions, data, out, low: Math.min(...keys), high: Math.max(...keys), later };
  for (const { start, end } of text) {
    for (let at = start; at < end; at += PIECE) {
      const from = Math.max(start, at - BEFORE);
      const bytes = new Uint8Array(Math.min(end, at + PIECE + 4) - from);
      kernel.memory.readPresent(fromKernelOffset(from), bytes, () => {});
      scanPiece(scan, bytes, from, at - from);
    }
  }
  // A load some instructions before the call has to be followed, which is slow; most of these locks are known by now.
  let left = MAX_DECODED;
  for (const { lock, code, start, call } of later) {
    const [, kind] = call;
    if (out.get(lock)?.some((each) => each.kind === kind) || left-- <= 0) continue;
    const at = start + code.length - 5;
    const base = fromKernelOffset(0);
    const operand = callOperands(code, base + BigInt(start)).find((each) => each.at === base + BigInt(at));
    if (operand?.rdi !== undefined && toKernelOffset(operand.rdi) === lock) add(out, lock, call, at);
  }
  return out;
}

export type LockFunction = readonly [string, LockKind];

/** A load of a variable's address, and not far behind it a call of a lock function. */
interface Candidate {
  readonly lock: KernelOffset;
  /** from the load to the end of the call */
  readonly code: Uint8Array;
  readonly start: KernelOffset;
  readonly call: LockFunction;
}

function add(out: Map<KernelOffset, CalledLock[]>, lock: KernelOffset, call: LockFunction, at: KernelOffset): void {
  const [through, kind] = call;
  const known = out.get(lock);
  if (known !== undefined && !known.some((each) => each.kind === kind)) known.push({ kind, through, at });
  else if (known === undefined && out.size < MAX_LOCKS) out.set(lock, [{ kind, through, at }]);
}

interface Scan {
  readonly functions: ReadonlyMap<KernelOffset, LockFunction>;
  readonly data: (offset: KernelOffset) => boolean;
  readonly out: Map<KernelOffset, CalledLock[]>;
  readonly low: KernelOffset;
  readonly high: KernelOffset;
  readonly later: Candidate[];
}

/** @param from the first position that belongs to this piece; what lies before it is context */
function scanPiece(scan: Scan, bytes: Uint8Array, start: KernelOffset, from: number): void {
  const { functions, data, out, low, high, later } = scan;
  for (let i = from; i + 5 <= bytes.length; i++) {
    // call rel32, and jmp rel32 for a call that ends its function
    if ((bytes[i] & 0xfe) !== 0xe8) continue;
    const target = start + i + 5 + getI32(bytes, i + 1);
    if (target < low || target > high) continue;
    const call = functions.get(target);
    if (call === undefined) continue;
    for (let j = i - 7; j >= Math.max(0, i - BEFORE); j--) {
      const lock = loadAt(bytes, j, start);
      if (lock === undefined || !data(lock)) continue;
      if (j === i - 7) add(out, lock, call, start + i);
      else if (later.length < MAX_LOCKS) later.push({ lock, code: bytes.slice(j, i + 5), start: start + j, call });
      break;
    }
  }
}

/** mov $imm32, %rdi (48 c7 c7) or lea disp32(%rip), %rdi (48 8d 3d) at position `at`. */
function loadAt(bytes: Uint8Array, at: number, start: KernelOffset): KernelOffset | undefined {
  if (bytes[at] !== 0x48) return undefined;
  if (bytes[at + 1] === 0xc7 && bytes[at + 2] === 0xc7) {
    const value = getI32(bytes, at + 3);
    return value < 0 ? value + 2 ** 31 : undefined;
  }
  if (bytes[at + 1] === 0x8d && bytes[at + 2] === 0x3d) return start + at + 7 + getI32(bytes, at + 3);
  return undefined;
}

/** Lock functions by address. Global ones only: "up" and "down" are names that others have too. */
export function lockFunctions(kernel: Kernel, padding: number): Map<KernelOffset, LockFunction> {
  const out = new Map<KernelOffset, LockFunction>();
  for (const [name, kind] of LOCK_FUNCTIONS) {
    const symbol = kernel.symbols.lookupAll(name).find((each) => each.type === "T" || each.type === "W");
    const offset = symbol === undefined ? undefined : toKernelOffset(symbol.address);
    if (offset === undefined || out.has(offset)) continue;
    out.set(offset, [name, kind]);
    // With call depth tracking calls enter through the padding in front.
    if (padding > 0) out.set(offset - padding, [name, kind]);
  }
  return out;
}

function range(start: bigint | undefined, end: bigint | undefined): Range | undefined {
  const from = start === undefined ? undefined : toKernelOffset(start);
  const to = end === undefined ? undefined : toKernelOffset(end);
  return from === undefined || to === undefined || to <= from || to - from > 1 << 28
    ? undefined
    : { start: from, end: to };
}

function textRanges(kernel: Kernel): Range[] {
  const core = range(kernel.find("_text") ?? kernel.find("_stext"), kernel.find("_etext"));
  const modules = kernel.modules.map(({ text }) => range(text.base, text.base + BigInt(text.size)));
  return [core, ...modules].filter((each) => each !== undefined);
}

/** Where variables live: the core behind its text and modules, without init memory and the template of per-CPU variables. */
function dataRanges(kernel: Kernel, text: readonly Range[]): (offset: KernelOffset) => boolean {
  const core = range(kernel.find("_sdata") ?? kernel.find("_etext"), kernel.find("_end"));
  const modules = kernel.modules.flatMap(({ regions }) =>
    regions
      .filter(({ kind }) => !kind.startsWith("init") && kind !== "text")
      .map(({ base, size }) => range(base, base + BigInt(size))),
  );
  const inside = [core, ...modules].filter((each) => each !== undefined);
  const outside = [
    ...text,
    range(kernel.find("__init_begin"), kernel.find("__init_end")),
    range(kernel.find("__per_cpu_start"), kernel.find("__per_cpu_end")),
  ].filter((each) => each !== undefined);
  const within = (offset: KernelOffset, ranges: readonly Range[]): boolean =>
    ranges.some(({ start, end }) => offset >= start && offset < end);
  return (offset) => (offset & 3) === 0 && within(offset, inside) && !within(offset, outside);
}
