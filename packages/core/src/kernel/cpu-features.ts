// boot_cpu_data.x86_capability: the words that alternatives were chosen by, bug words behind them.
import { addressAdd, type VirtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import { getU32 } from "./layouts/little-endian.ts";
import type { Structures } from "./layouts/structures.ts";

export interface CpuFeatures {
  /** u32 words; NCAPINTS feature words, then NBUGINTS bug words. Empty when the dump does not tell. */
  readonly words: Uint32Array;
  /** boot_cpu_has(bit): word * 32 + bit, as alt_instr.cpuid holds it. */
  has(bit: number): boolean;
  /** x86_vendor (X86_VENDOR_INTEL 0, AMD 2, HYGON 9 …), x86, x86_model. */
  readonly vendor: number;
  readonly family: number;
  readonly model: number;
  /** "GenuineIntel" … */
  readonly vendorId: string;
  readonly modelId: string;
}

function unknownFeatures(): CpuFeatures {
  return { words: new Uint32Array(), has: () => false, vendor: -1, family: 0, model: 0, vendorId: "", modelId: "" };
}

/** Reads `boot_cpu_data` (struct cpuinfo_x86, arch/x86/include/asm/processor.h). */
export function readCpuFeatures(
  structures: Structures,
  bootCpuData: VirtualAddress | undefined,
  problems: string[],
): CpuFeatures {
  if (bootCpuData === undefined) {
    problems.push("boot_cpu_data has no symbol: CPU features are unknown");
    return unknownFeatures();
  }
  const type = "struct cpuinfo_x86";
  try {
    const capability = structures.find(type, "x86_capability");
    if (capability === undefined || capability.size > 4096) {
      problems.push(`${type}.x86_capability has no known layout: CPU features are unknown`);
      return unknownFeatures();
    }
    const bytes = structures.memory.read(addressAdd(bootCpuData, capability.offset), capability.size);
    const words = new Uint32Array(bytes.length >> 2);
    for (let i = 0; i < words.length; i++) words[i] = getU32(bytes, i * 4);
    const optional = (path: string): number =>
      structures.has(type, path) ? structures.number(bootCpuData, type, path) : 0;
    const text = (path: string): string => (structures.has(type, path) ? structures.text(bootCpuData, type, path) : "");
    return {
      words,
      has: (bit) => bit >> 5 < words.length && ((words[bit >> 5] >>> (bit & 31)) & 1) === 1,
      vendor: optional("x86_vendor"),
      family: optional("x86"),
      model: optional("x86_model"),
      vendorId: text("x86_vendor_id"),
      modelId: text("x86_model_id").trim(),
    };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`boot_cpu_data: ${error.message}: CPU features are unknown`);
    return unknownFeatures();
  }
}
