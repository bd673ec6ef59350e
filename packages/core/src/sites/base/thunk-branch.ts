// A retpoline site whose branch is led to another thunk: call depth tracking and ITS both do that.
import type { KernelOffset } from "../../bytes/brand.ts";
import { branch32, putI32 } from "../../x86/encode.ts";

/** __emit_trampoline(): the site's own branch, led elsewhere. */
export function thunkBranch(
  site: { length: number; opcode: number; condition: number },
  at: KernelOffset,
  target: KernelOffset,
): Uint8Array {
  const out = new Uint8Array(site.length);
  if (site.condition >= 0) {
    out.set([0x0f, 0x80 + site.condition]);
    putI32(out, 2, target - (at + 6));
    return out;
  }
  let index = 0;
  if (site.length === 6) out[index++] = 0x2e;
  out.set(branch32(site.opcode, at + index, target), index);
  return out;
}
