// A retpoline site whose branch is led to another thunk: call depth tracking and ITS both do that.
import type { KernelOffset } from "../../bytes/brand.ts";
import { branch32, putI32 } from "../../x86/encode.ts";

/**
 * __emit_trampoline(): the site's own branch, led elsewhere. Undefined when the site is longer than what the kernel
 * writes: it then leaves the site alone.
 */
export function thunkBranch(
  site: { length: number; opcode: number; condition: number },
  at: KernelOffset,
  target: KernelOffset,
): Uint8Array | undefined {
  const out = new Uint8Array(site.length);
  if (site.condition >= 0) {
    if (site.length !== 6) return undefined;
    out.set([0x0f, 0x80 + site.condition]);
    putI32(out, 2, target - (at + 6));
    return out;
  }
  const index = site.length === 6 ? 1 : 0;
  if (site.length !== index + 5) return undefined;
  if (index === 1) out[0] = 0x2e;
  out.set(branch32(site.opcode, at + index, target), index);
  return out;
}
