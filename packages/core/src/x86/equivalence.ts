// Two sequences of NOPs do the same. Only encodings that kernels write count: a damaged NOP that happens to decode as
// one is damage all the same.
import { INTEL_NOPS, K8_NOPS, P6_NOPS, X86_NOPS } from "./nops.ts";

const KNOWN: readonly Uint8Array[] = [
  ...[...P6_NOPS, ...X86_NOPS, ...K8_NOPS, ...INTEL_NOPS].filter((nop) => nop.length > 0),
  Uint8Array.of(0x66, 0x66, 0x66, 0x66, 0x90),
  Uint8Array.of(0x3e, 0x8d, 0x74, 0x26, 0x00),
].sort((a, b) => b.length - a.length);

/** True when the bytes are one or more of the kernels' own NOPs, end to end. */
export function isNops(bytes: Uint8Array): boolean {
  const reachable = new Uint8Array(bytes.length + 1);
  reachable[0] = 1;
  for (let at = 0; at < bytes.length; at++) {
    if (reachable[at] === 0) continue;
    for (const nop of KNOWN) {
      if (at + nop.length <= bytes.length && nop.every((byte, i) => byte === bytes[at + i]))
        reachable[at + nop.length] = 1;
    }
  }
  return bytes.length > 0 && reachable[bytes.length] === 1;
}
