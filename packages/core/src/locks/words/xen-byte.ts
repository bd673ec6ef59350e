// Xen's byte lock (struct xen_spinlock {unsigned char lock; unsigned short spinners} of arch/x86/xen/spinlock.c, 2.6.27 to
// 3.11): lock sets the byte to 1, unlock clears it, spinners counts those that sleep in the hypervisor.
import { getU16 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes } from "../../x86/encode.ts";
import type { LockState, LockWord } from "./types.ts";

/**
 * @param bytes the 4 bytes of the word
 * @param cpus possible CPUs: each can be one spinner
 */
export function decodeXenByte(bytes: Uint8Array, cpus: number): LockWord {
  const lock = bytes[0];
  const spinners = getU16(bytes, 2);
  const problems: string[] = [];
  if (lock > 1) problems.push(`the byte is ${lock}, which neither lock nor unlock ever writes`);
  if (bytes[1] !== 0) problems.push(`the byte behind it is ${bytes[1]}: padding that nothing writes`);
  if (spinners > cpus) problems.push(`${spinners} spinners, more than ${cpus} CPUs`);
  const state: LockState =
    problems.length > 0 ? "impossible" : spinners > 0 ? "contended" : lock === 1 ? "held" : "free";
  const meaning =
    state === "impossible"
      ? problems.join("; ")
      : `${lock === 1 ? "held" : "free"}${spinners > 0 ? `, ${spinners} sleeping until it is released` : ""}`;
  return {
    type: "Xen byte lock",
    state,
    bytes: hexBytes(bytes.subarray(0, 4)),
    fields: { lock, spinners },
    meaning,
    problems,
  };
}
