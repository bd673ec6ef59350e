// Per-CPU variables: the address of a CPU's own copy (include/asm-generic/percpu.h). Symbols of per-CPU variables count
// from zero up to 6.14 and are ordinary addresses since; adding __per_cpu_offset[cpu] is right for both.

import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";

/** CPU numbers above it are not believed. */
export const MAX_CPUS = 8192;

export class PerCpu {
  private readonly offsets = new Map<number, bigint | null>();
  private readonly table: VirtualAddress | undefined;
  /** nr_cpu_ids; 1 where the kernel does not tell (a uniprocessor build). */
  readonly possible: number;

  constructor(private readonly kernel: Kernel) {
    this.table = kernel.find("__per_cpu_offset");
    let possible = 1;
    try {
      const at = kernel.find("nr_cpu_ids");
      if (at !== undefined) possible = kernel.memory.u32(at);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
    }
    this.possible = possible >= 1 && possible <= MAX_CPUS ? possible : 1;
  }

  /** __per_cpu_offset[cpu]; undefined for a CPU that is not possible or whose entry is not in the dump. */
  offset(cpu: number): bigint | undefined {
    if (!(cpu >= 0 && cpu < this.possible)) return undefined;
    let offset = this.offsets.get(cpu);
    if (offset === undefined) {
      const bytes =
        this.table === undefined ? undefined : this.kernel.memory.tryRead(addressAdd(this.table, cpu * 8), 8);
      offset = this.table === undefined ? 0n : bytes === undefined ? null : getU64(bytes, 0);
      this.offsets.set(cpu, offset);
    }
    return offset ?? undefined;
  }

  /** Address of the CPU's copy of a variable; undefined when there is no such symbol or CPU. */
  address(symbol: string, cpu: number): VirtualAddress | undefined {
    const base = this.kernel.find(symbol);
    const offset = this.offset(cpu);
    return base === undefined || offset === undefined ? undefined : virtualAddress(base + offset);
  }
}
