// One piece of executable memory that no image contains, and the comparison that the checks of its kinds share.
import type { VirtualAddress } from "../../bytes/brand.ts";

export type GeneratedKind =
  | "ftrace-trampoline"
  | "kprobe-copies"
  | "kprobe-copy"
  | "kprobe-detours"
  | "kprobe-detour"
  | "bpf-program"
  | "bpf-trampoline"
  | "bpf-dispatcher"
  | "bpf-other"
  | "its-thunks"
  | "hypercall-page";

/** A run of bytes that are not what the owner must have written. */
export interface Deviation {
  /** bytes from the start of the piece */
  readonly offset: number;
  readonly found: Uint8Array;
  /** As long as `found`; undefined where only the meaning of the bytes is wrong (a branch to no function's start). */
  readonly expected?: Uint8Array;
}

/** What comparing a piece with its owner told. */
export interface Comparison {
  /** True when its content was compared with what it must be, at least in the parts that `problem` could be about. */
  readonly checked: boolean;
  /** True when only some of its bytes were: where the branches of BPF code lead. */
  readonly partly?: boolean;
  /** What is wrong with it, in words: "+0x1a holds 90, 5d is expected". */
  readonly problem?: string;
  /** The bytes that `problem` is about. */
  readonly differs?: readonly Deviation[];
  /** "ftrace_lock is held": its owner was changing it at the moment of the dump, so that differences tell nothing. */
  readonly changing?: string;
}

export interface GeneratedCode extends Comparison {
  readonly kind: GeneratedKind;
  /** "global_ops (function_trace_call)", "kprobe at vfs_read+0x5", "bpf_prog_0123456789abcdef_name" */
  readonly owner: string;
  readonly address: VirtualAddress;
  /** bytes */
  readonly size: number;
}

/** More runs of one piece than anybody reads. */
const MAX_RUNS = 16;

/** Compares a piece with what it must be. `free` marks bytes that may be anything. */
export function compareGenerated(
  found: Uint8Array,
  expected: Uint8Array,
  free?: (index: number) => boolean,
): Comparison {
  const differs: Deviation[] = [];
  for (let i = 0; i < expected.length && differs.length < MAX_RUNS; i++) {
    if (found[i] === expected[i] || free?.(i)) continue;
    let end = i + 1;
    while (end < expected.length && found[end] !== expected[end] && !free?.(end)) end++;
    differs.push({ offset: i, found: found.slice(i, end), expected: expected.slice(i, end) });
    i = end;
  }
  if (differs.length === 0) return { checked: true };
  const [first] = differs;
  const byte = (value: number): string => value.toString(16).padStart(2, "0");
  const problem = `+0x${first.offset.toString(16)} holds ${byte(first.found[0])}, ${byte(expected[first.offset])} is expected`;
  return { checked: true, problem, differs };
}
