// The order of instructions inside one function: which may run before a given one, and which after it. A function's own
// loops and branches decide, not the order of its code.
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32, isJcc32 } from "../x86/encode.ts";
import { opcodeIndex } from "../x86/instructions.ts";
import type { EventReader } from "./event-reader.ts";
import { EVENT } from "./events.ts";

export interface Order {
  /** True for an instruction from which control can come to the given one. */
  before(at: KernelOffset): boolean;
  /** True for an instruction to which control can go on from the given one. */
  after(at: KernelOffset): boolean;
}

/**
 * What runs before and after the instruction at `pivot` of function `index`; in a loop an instruction may be both.
 * @param labels jump labels: both of their ways are taken
 */
export function orderAround(
  events: EventReader,
  labels: ReadonlyMap<KernelOffset, KernelOffset>,
  index: number,
  pivot: KernelOffset,
): Order {
  const { image } = events;
  const start = image.functions[index];
  const section = image.section(start);
  const starts: KernelOffset[] = [];
  const lengths: number[] = [];
  events.instructions(start, image.functionEnd(index), (at, length) => {
    starts.push(at);
    lengths.push(length);
  });
  const targets: (readonly KernelOffset[])[] = [];
  const goesOn: boolean[] = [];
  const { bytes, start: base } = section ?? { bytes: new Uint8Array(), start: 0 };
  for (const [i, at] of starts.entries()) {
    const op = opcodeIndex(bytes, at - base);
    const opcode = bytes[op];
    const next = at + lengths[i];
    const target = branchTarget(bytes, op, next);
    const label = labels.get(at);
    const jumps = opcode === 0xff && (bytes[op + 1] & 0x38) === 0x20;
    const never = opcode === 0xe8 && neverReturns(events, image.functionFrom(next + getI32(bytes, op + 1)));
    const leaves = jumps || never || opcode === 0xeb || opcode === 0xe9 || opcode === 0xc3 || opcode === 0xc2;
    const to = target === undefined ? [] : image.functionAt(target) >= 0 ? [target] : detour(events, target);
    targets.push(label === undefined ? to : [...to, label]);
    goesOn.push(!leaves || label !== undefined);
  }
  const row = new Map(starts.map((at, i) => [at, i]));
  const forward = starts.map((_, i) => {
    const out = targets[i].map((target) => row.get(target)).filter((to) => to !== undefined);
    if (goesOn[i] && i + 1 < starts.length) out.push(i + 1);
    return out;
  });
  const backward: number[][] = starts.map(() => []);
  for (const [from, tos] of forward.entries()) for (const to of tos) backward[to].push(from);
  const middle = row.get(pivot);
  const before = reach(backward, middle);
  const after = reach(forward, middle);
  return {
    before: (at) => before.has(row.get(at) ?? -1),
    after: (at) => after.has(row.get(at) ?? -1),
  };
}

function branchTarget(bytes: Uint8Array, op: number, next: KernelOffset): KernelOffset | undefined {
  const opcode = bytes[op];
  if (opcode === 0xeb || (opcode & 0xf0) === 0x70 || (opcode & 0xfc) === 0xe0) {
    return next + ((bytes[op + 1] << 24) >> 24);
  }
  if (opcode === 0xe9) return next + getI32(bytes, op + 1);
  return isJcc32(bytes, op) ? next + getI32(bytes, op + 2) : undefined;
}

/** static_cpu_has() branches in .altinstr_aux: testb, jnz, jmp. Where both lead. */
function detour(events: EventReader, target: KernelOffset): KernelOffset[] {
  const section = events.image.section(target);
  const out: KernelOffset[] = [];
  if (section === undefined) return out;
  let ended = false;
  events.instructions(target, Math.min(target + 24, section.end), (at, length) => {
    const from = at - section.start;
    const to = branchTarget(section.bytes, opcodeIndex(section.bytes, from), at + length);
    if (ended || to === undefined) return;
    out.push(to);
    ended = section.bytes[from] === 0xe9 || section.bytes[from] === 0xeb;
  });
  return out;
}

/** A function without any return and without a jump elsewhere: rest_init(), panic(). Its cold part counts with it. */
function neverReturns(events: EventReader, index: number): boolean {
  if (index < 0) return false;
  const { image } = events;
  const name = image.functionName(index);
  const parts = [index];
  for (const part of parts) {
    for (const { kind, a } of events.of(part)) {
      if (kind === EVENT.fall || kind === EVENT.callRegister) return false;
      if (kind !== EVENT.jump) continue;
      const target = image.functionAt(a);
      if (target < 0 || parts.includes(target)) continue;
      if (image.functionName(target) !== `${name}.cold`) return false;
      parts.push(target);
    }
    const start = image.functions[part];
    const section = image.section(start);
    let returns = false;
    events.instructions(start, image.functionEnd(part), (at) => {
      const opcode = section?.bytes[opcodeIndex(section.bytes, at - section.start)];
      if (opcode === 0xc3 || opcode === 0xc2 || opcode === 0xcb || opcode === 0xcf) returns = true;
    });
    if (returns) return false;
  }
  return true;
}

/** Rows that can be reached in one or more steps. */
function reach(steps: readonly (readonly number[])[], from: number | undefined): Set<number> {
  const seen = new Set<number>();
  const open = from === undefined ? [] : [from];
  for (let i = open.pop(); i !== undefined; i = open.pop()) {
    for (const next of steps[i]) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return seen;
}
