// The NOP encodings that kernels write, and how each era pads: the same run of padding differs by release and,
// in the older ones, by processor (arch/x86/include/asm/nops.h, arch/x86/kernel/alternative.c).

const hex = (text: string): Uint8Array => Uint8Array.from(text.split(" "), (byte) => Number.parseInt(byte, 16));

/** Index = length. P6 NOPs: `p6_nops` of 2.6 … 5.10, `x86_nops` since 5.13; 9 to 11 bytes since 6.6. */
export const P6_NOPS: readonly Uint8Array[] = [
  new Uint8Array(),
  hex("90"),
  hex("66 90"),
  hex("0f 1f 00"),
  hex("0f 1f 40 00"),
  hex("0f 1f 44 00 00"),
  hex("66 0f 1f 44 00 00"),
  hex("0f 1f 80 00 00 00 00"),
  hex("0f 1f 84 00 00 00 00 00"),
  hex("66 0f 1f 84 00 00 00 00 00"),
  hex("66 66 0f 1f 84 00 00 00 00 00"),
  hex("66 66 66 0f 1f 84 00 00 00 00 00"),
];

/** `x86_nops` of 6.6 and newer: as P6, with CS prefixes in the 9 to 11 byte forms. */
export const X86_NOPS: readonly Uint8Array[] = [
  ...P6_NOPS.slice(0, 9),
  hex("2e 0f 1f 84 00 00 00 00 00"),
  hex("66 2e 0f 1f 84 00 00 00 00 00"),
  hex("66 66 2e 0f 1f 84 00 00 00 00 00"),
];

/** `k8_nops` (2.6 … 5.10). */
export const K8_NOPS: readonly Uint8Array[] = [
  new Uint8Array(),
  hex("90"),
  hex("66 90"),
  hex("66 66 90"),
  hex("66 66 66 90"),
  hex("66 66 90 66 90"),
  hex("66 66 90 66 66 90"),
  hex("66 66 66 90 66 66 90"),
  hex("66 66 66 90 66 66 66 90"),
];

/** `intel_nops` (generic NOPs, 2.6 … 5.10). */
export const INTEL_NOPS: readonly Uint8Array[] = [
  new Uint8Array(),
  hex("90"),
  hex("89 f6"),
  hex("8d 76 00"),
  hex("8d 74 26 00"),
  hex("90 8d 74 26 00"),
  hex("8d b6 00 00 00 00"),
  hex("8d b4 26 00 00 00 00"),
  hex("90 8d b4 26 00 00 00 00"),
];

/** The NOPs of one running kernel. */
export interface NopStyle {
  /** "p6", "k8", "x86" … for output */
  readonly name: string;
  /** index = length; `nops.length - 1` is ASM_NOP_MAX */
  readonly nops: readonly Uint8Array[];
  /** The 5-byte NOP that must be one instruction (NOP_ATOMIC5): jump labels and ftrace of 5.10 and older. */
  readonly atomic5: Uint8Array;
  /**
   * Since 6.6 (b6c881b248ef "x86/alternatives: Add longer 64-bit NOPs" and its successors) padding longer than the
   * longest NOP is a jump over INT3s; before, repeated longest NOPs.
   */
  readonly jumpOverLong: boolean;
}

const P6_ATOMIC5 = P6_NOPS[5];
const K8_ATOMIC5 = hex("66 66 66 66 90");

export const P6_STYLE: NopStyle = { name: "p6", nops: P6_NOPS.slice(0, 9), atomic5: P6_ATOMIC5, jumpOverLong: false };
export const K8_STYLE: NopStyle = { name: "k8", nops: K8_NOPS, atomic5: K8_ATOMIC5, jumpOverLong: false };
export const INTEL_STYLE: NopStyle = {
  name: "intel",
  nops: INTEL_NOPS,
  atomic5: hex("3e 8d 74 26 00"),
  jumpOverLong: false,
};
export const X86_STYLE: NopStyle = { name: "x86", nops: X86_NOPS, atomic5: P6_ATOMIC5, jumpOverLong: true };

/** Writes `length` bytes of padding at `at`, as add_nops() (≤ 6.5) or add_nop() (6.6 and newer) does. */
export function fillNops(into: Uint8Array, at: number, length: number, style: NopStyle): void {
  const longest = style.nops.length - 1;
  if (style.jumpOverLong && length > longest) {
    const end = at + length;
    if (length < 128) {
      into[at++] = 0xeb;
      into[at++] = length - 2;
    } else {
      into[at] = 0xe9;
      new DataView(into.buffer, into.byteOffset).setInt32(at + 1, length - 5, true);
      at += 5;
    }
    into.fill(0xcc, at, end);
    return;
  }
  while (length > 0) {
    const part = Math.min(length, longest);
    into.set(style.nops[part], at);
    at += part;
    length -= part;
  }
}
