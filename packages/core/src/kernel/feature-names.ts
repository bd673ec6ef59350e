// Names of CPU features: alternatives carry numbers only, BTF has no macros, and numbers move between releases. The kernel keeps
// the names for /proc/cpuinfo itself; features that it does not show there have one only where the number has never moved.
import { addressAdd, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "./kernel.ts";
import { getU32 } from "./layouts/little-endian.ts";

/** Word 8, arch/x86/include/asm/cpufeatures.h: added in 4.15 (15, 16), 5.0 to 5.12 (18 to 22), unmoved since. */
const UNSHOWN: ReadonlyMap<number, string> = new Map([
  [8 * 32 + 15, "vmmcall"],
  [8 * 32 + 16, "xenpv"],
  [8 * 32 + 18, "vmcall"],
  [8 * 32 + 19, "vmw_vmmcall"],
  [8 * 32 + 20, "pvunlock"],
  [8 * 32 + 21, "vcpupreempt"],
  [8 * 32 + 22, "tdx_guest"],
]);
/** "constant_tsc" has 12 letters; the longest has fewer than 32. */
const LONGEST = 32;
/** CAPNAMES of x86_cap_flags are NCAPINTS * 32; more than 32 words has no kernel. */
const MOST_WORDS = 32;

/** "X86_FEATURE 8*32+20 (pvunlock)": the number that stands in the table, and its name where the kernel or time tells. */
export function featureText(kernel: Pick<Kernel, "symbols" | "memory">, feature: number): string {
  const number = `X86_FEATURE ${feature >> 5}*32+${feature & 31}`;
  const name = shownName(kernel, feature) ?? UNSHOWN.get(feature);
  return name === undefined ? number : `${number} (${name})`;
}

/** `const char * const x86_cap_flags[NCAPINTS*32]` (arch/x86/kernel/cpu/capflags.c, made by mkcapflags.sh). */
function shownName(kernel: Pick<Kernel, "symbols" | "memory">, feature: number): string | undefined {
  const flags = kernel.symbols.lookup("x86_cap_flags");
  if (flags === undefined || feature >> 5 >= MOST_WORDS) return undefined;
  // Bug bits have a table of their own behind it; what lies past the end of this one is no name of a feature.
  const size = kernel.symbols.nearest(flags.address)?.size;
  if (size !== undefined && (feature + 1) * 8 > size) return undefined;
  try {
    const pointer = kernel.memory.read(addressAdd(flags.address, feature * 8), 8);
    const address = (BigInt(getU32(pointer, 4)) << 32n) | BigInt(getU32(pointer, 0));
    if (address < 0xffffffff80000000n) return undefined;
    const bytes = kernel.memory.read(virtualAddress(address), LONGEST);
    const end = bytes.indexOf(0);
    const text = String.fromCharCode(...bytes.subarray(0, Math.max(0, end)));
    return /^[a-z0-9][a-z0-9_]*$/.test(text) ? text : undefined;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}
