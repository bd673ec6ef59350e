// A function's code as it stands in the dump. Its end is told by the symbol behind it, which for the last function of a
// module lies pages away, with nothing mapped in between.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";

const PAGE = 4096;

/**
 * The bytes from `start`: `size` of them, or as many as the pages that are there hold.
 * Undefined when not even the first page is there.
 */
export function functionBytes(kernel: Kernel, start: VirtualAddress, size: number): Uint8Array | undefined {
  if (size <= 0) return undefined;
  const whole = kernel.memory.tryRead(start, size);
  if (whole !== undefined) return whole;
  let length = Math.min(size, PAGE - Number(start % BigInt(PAGE)));
  while (length < size && kernel.memory.tryRead(addressAdd(start, length), 1) !== undefined) {
    length = Math.min(size, length + PAGE);
  }
  return kernel.memory.tryRead(start, length);
}
