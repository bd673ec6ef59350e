// A kernel as it would be with other memory or features: whole, so that whatever is asked of it sees the change. What was
// read from the old memory is not taken over.
import type { VirtualMemory } from "../memory/types.ts";
import type { CpuFeatures } from "./cpu-features.ts";
import type { Kernel } from "./kernel.ts";
import { Structures } from "./layouts/structures.ts";

export interface KernelChange {
  readonly memory?: VirtualMemory;
  readonly features?: CpuFeatures;
}

/** Symbols, layouts and the list of modules stay: they are what the kernel is, not what it holds. */
export function kernelWith(kernel: Kernel, { memory, features }: KernelChange): Kernel {
  const changed = memory ?? kernel.memory;
  return Object.create(kernel, {
    memory: { value: changed, enumerable: true },
    structures: {
      value: memory === undefined ? kernel.structures : new Structures(changed, kernel.types),
      enumerable: true,
    },
    features: { value: features ?? kernel.features, enumerable: true },
  }) as Kernel;
}
