// One piece of executable memory that no image contains, and the comparison that the checks of its kinds share.
import type { VirtualAddress } from "../bytes/brand.ts";

export type GeneratedKind =
  | "ftrace-trampoline"
  | "kprobe-copies"
  | "kprobe-detours"
  | "kprobe-detour"
  | "bpf-program"
  | "bpf-trampoline"
  | "bpf-dispatcher"
  | "bpf-other"
  | "its-thunks"
  | "hypercall-page";

export interface GeneratedCode {
  readonly kind: GeneratedKind;
  /** "global_ops (function_trace_call)", "kprobe at vfs_read+0x5", "bpf_prog_0123456789abcdef_name" */
  readonly owner: string;
  readonly address: VirtualAddress;
  /** bytes */
  readonly size: number;
  /** True when its content was compared with what it must be, at least in the parts that `problem` could be about. */
  readonly checked: boolean;
  /** What is wrong with it, in words: "+0x1a holds 90, 5d is expected". */
  readonly problem?: string;
}

/** The first byte that differs, in words; undefined when all are alike. `free` marks bytes that may be anything. */
export function firstDifference(
  found: Uint8Array,
  expected: Uint8Array,
  free?: (index: number) => boolean,
): string | undefined {
  for (let i = 0; i < expected.length; i++) {
    if (found[i] === expected[i] || free?.(i)) continue;
    const byte = (value: number): string => value.toString(16).padStart(2, "0");
    return `+0x${i.toString(16)} holds ${byte(found[i])}, ${byte(expected[i])} is expected`;
  }
  return undefined;
}
