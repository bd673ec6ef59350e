// Who called whom on a stack, without unwinding tables: of the words that look like return addresses the next frame is the
// first one whose CALL leads to the function of the frame below. Stale return addresses rarely pass that.
import { fromKernelOffset, toKernelOffset, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type Place, placeText } from "../symbols/place.ts";
import { CALL, JMP32, rel32Target } from "../x86/encode.ts";
import { followsCall, type StackWords, type TextRanges } from "./stack-scan.ts";

/** How a frame was found; "register" is where the CPU stands. */
export type FrameSource = "register" | "orc" | "frame pointer" | "scan";

export interface Frame {
  /** The instruction the frame stands at: the register for the first one, a return address for the others. */
  readonly address: VirtualAddress;
  /** the text of `place` */
  readonly symbol: string;
  readonly place: Place;
  /** start of the function */
  readonly start: VirtualAddress;
  /** The CALL before it leads to the frame below; false for an indirect call or one through a tail jump. */
  readonly checked: boolean;
  readonly how: FrameSource;
  /** where on the stack it lies; undefined for the first frame */
  readonly at?: VirtualAddress;
  /** the stack that `at` lies on: TASK, IRQ, NMI … where it is known */
  readonly stack?: string;
}

/** Words above a frame in which its return address is looked for: the largest frames have 100 or so. */
const WINDOW = 256;

/** The function around an address. */
export function functionOf(
  kernel: Kernel,
  address: bigint,
): { readonly place: Place; readonly start: VirtualAddress } | undefined {
  const near = kernel.allSymbols.nearest(virtualAddress(address));
  if (near === undefined) return undefined;
  const { name, module } = near.symbol;
  return { place: { symbol: name, offset: near.offset, module: module ?? null }, start: near.symbol.address };
}

/** The same for a return address, which may lie behind a function's last instruction: that is a call which never returns. */
export function callerOf(kernel: Kernel, address: bigint): ReturnType<typeof functionOf> {
  const where = functionOf(kernel, address - 1n);
  if (where === undefined) return undefined;
  return { start: where.start, place: { ...where.place, offset: Number(address - where.start) } };
}

/** Start of the function that the CALL before a return address leads to, through jumps; undefined for indirect calls. */
function calledFrom(kernel: Kernel, address: bigint): VirtualAddress | undefined {
  const offset = toKernelOffset(address);
  const bytes = offset === undefined ? undefined : kernel.memory.tryRead(fromKernelOffset(offset - 5), 5);
  if (offset === undefined || bytes === undefined || bytes[0] !== CALL) return undefined;
  let target = rel32Target(bytes, 1, offset);
  for (let hops = 0; hops < 4; hops++) {
    if (target < 0 || target >= 2 ** 31) return undefined;
    const code = kernel.memory.tryRead(fromKernelOffset(target), 5);
    if (code === undefined || code[0] !== JMP32) break;
    target = rel32Target(code, 1, target + 5);
  }
  return kernel.allSymbols.nearest(fromKernelOffset(target))?.symbol.address;
}

/**
 * Frames from `rip` outwards, at most `count`. The walk ends where no return address follows.
 * @param stack from the stack pointer upwards
 */
export function backtrace(
  kernel: Kernel,
  text: TextRanges,
  rip: bigint,
  stack: StackWords | undefined,
  count = 12,
): Frame[] {
  const first = text.has(rip) ? functionOf(kernel, rip) : undefined;
  if (first === undefined) return [];
  const frames: Frame[] = [
    { address: virtualAddress(rip), symbol: placeText(first.place), ...first, checked: true, how: "register" },
  ];
  if (stack === undefined) return frames;
  let at = 0;
  while (frames.length < count) {
    const below = frames[frames.length - 1].start;
    let found = -1;
    let fallback = -1;
    const end = Math.min(stack.words.length, at + WINDOW);
    for (let i = at; i < end && found < 0; i++) {
      const word = stack.words[i];
      if (!text.has(word) || !followsCall(kernel, word)) continue;
      if (calledFrom(kernel, word) === below) found = i;
      else if (fallback < 0) fallback = i;
    }
    const next = found >= 0 ? found : fallback;
    if (next < 0) break;
    const address = virtualAddress(stack.words[next]);
    const where = callerOf(kernel, address);
    if (where === undefined) break;
    const { place } = where;
    frames.push({
      address,
      symbol: placeText(place),
      place,
      start: where.start,
      checked: found >= 0,
      how: "scan",
      at: virtualAddress(stack.start + BigInt(next * 8)),
    });
    at = next + 1;
  }
  return frames;
}
