// A kernel as it would be with other bytes in some places: what is asked of it afterwards (which implementation runs, what
// the audit intends) sees the change.

import type { VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU16, getU32, getU64 } from "../../kernel/layouts/little-endian.ts";
import { kernelWith } from "../../kernel/with.ts";
import type { VirtualMemory } from "../../memory/types.ts";
import type { Preset } from "../types.ts";

/**
 * The kernel with the presets over what is read from its memory (`readPresent`, which copies whole sections, still tells what
 * the dump holds). Its symbols, layouts and features stay.
 */
export function patchedKernel(kernel: Kernel, presets: readonly Preset[]): Kernel {
  if (presets.length === 0) return kernel;
  const { memory } = kernel;
  const sorted = [...presets].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const longest = BigInt(Math.max(...presets.map(({ bytes }) => bytes.length)));
  const change = (address: bigint, found: Uint8Array): Uint8Array => {
    const end = address + BigInt(found.length);
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle].address + longest <= address) low = middle + 1;
      else high = middle;
    }
    let out = found;
    for (let k = low; k < sorted.length && sorted[k].address < end; k++) {
      const { address: at, bytes } = sorted[k];
      for (let i = 0; i < bytes.length; i++) {
        const offset = Number(at + BigInt(i) - address);
        if (offset < 0 || offset >= out.length) continue;
        // The dump's own buffer must not change.
        if (out === found) out = found.slice();
        out[offset] = bytes[i];
      }
    }
    return out;
  };
  const read = (address: VirtualAddress, length: number): Uint8Array => change(address, memory.read(address, length));
  const changed: VirtualMemory = Object.assign(Object.create(memory) as VirtualMemory, {
    read,
    u8: (address: VirtualAddress) => read(address, 1)[0],
    u16: (address: VirtualAddress) => getU16(read(address, 2), 0),
    u32: (address: VirtualAddress) => getU32(read(address, 4), 0),
    i32: (address: VirtualAddress) => getU32(read(address, 4), 0) | 0,
    u64: (address: VirtualAddress) => getU64(read(address, 8), 0),
    pointer: (address: VirtualAddress) => getU64(read(address, 8), 0) as VirtualAddress,
    tryRead: (address: VirtualAddress, length: number) => {
      const bytes = memory.tryRead(address, length);
      return bytes && change(address, bytes);
    },
  });
  return kernelWith(kernel, { memory: changed });
}
