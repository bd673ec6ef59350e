// The dump's memory with other bytes put over it: lock words as they were when free, per-CPU variables, sites patched as
// a candidate repair would. Code and data are both read through it.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { isModelAddress } from "../machine/model-addresses.ts";
import type { CodeMemory, Preset } from "../types.ts";

export class PatchedMemory implements CodeMemory {
  private readonly patches = new Map<bigint, number>();

  constructor(
    private readonly memory: CodeMemory,
    presets: readonly Preset[],
  ) {
    for (const { address, bytes } of presets) {
      bytes.forEach((byte, i) => {
        this.patches.set(address + BigInt(i), byte);
      });
    }
  }

  /** The model's own memory starts as zeros. @throws AddressError */
  read(address: VirtualAddress, length: number): Uint8Array {
    const bytes = isModelAddress(address) ? new Uint8Array(length) : this.memory.read(address, length).slice();
    if (this.patches.size > 0)
      for (let i = 0; i < length; i++) bytes[i] = this.patches.get(address + BigInt(i)) ?? bytes[i];
    return bytes;
  }
}
