// CPU feature numbers (word * 32 + bit) of a 6.1 kernel, arch/x86/include/asm/cpufeatures.h, and the sets that the
// specimen's machines have.

const at = (word: number, bit: number) => word * 32 + bit;

export const FEATURE = {
  FPU: at(0, 0),
  UP: at(3, 9),
  REP_GOOD: at(3, 16),
  ALWAYS: at(3, 21),
  XSAVE: at(4, 26),
  HYPERVISOR: at(4, 31),
  PTI: at(7, 11),
  XENPV: at(8, 16),
  PVUNLOCK: at(8, 20),
  VCPUPREEMPT: at(8, 21),
  ERMS: at(9, 9),
  SMAP: at(9, 20),
  RETPOLINE: at(11, 12),
  RETPOLINE_LFENCE: at(11, 13),
  RETHUNK: at(11, 14),
  LA57: at(16, 16),
  FSRM: at(18, 4),
} as const;

/** NCAPINTS + NBUGINTS */
export const CAPABILITY_WORDS = 24;

/** Without these no processor runs a 64-bit kernel: CPUID 1 EDX, and SYSCALL, NX, long mode of 0x80000001 EDX. */
export const BASELINE: readonly number[] = [
  ...[0, 4, 5, 6, 8, 9, 13, 15, 24, 25, 26].map((bit) => at(0, bit)),
  ...[11, 20, 29].map((bit) => at(1, bit)),
];

const COMMON = [FEATURE.FPU, FEATURE.REP_GOOD, FEATURE.ALWAYS, FEATURE.XSAVE, FEATURE.SMAP];

/** The features of a machine: with the Spectre mitigations on, retpolines and return thunks stay as built. */
export function featureSet(options: { readonly mitigations: boolean; readonly cpus: number }): ReadonlySet<number> {
  const set = new Set<number>([...BASELINE, ...COMMON]);
  if (options.mitigations) for (const f of [FEATURE.RETPOLINE, FEATURE.RETHUNK]) set.add(f);
  return set;
}

/** x86_capability, the bug words included. */
export function capabilityWords(features: ReadonlySet<number>): Uint32Array {
  const words = new Uint32Array(CAPABILITY_WORDS);
  for (const f of features) words[f >> 5] |= 1 << (f & 31);
  return words;
}
