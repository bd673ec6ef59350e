// Code that the kernel made while it ran and that no image contains: what `info` lists and `audit` counts.

/** One piece of it. */
export interface GeneratedFact {
  /** "ftrace-trampoline", "kprobe-detour", "bpf-program", "its-thunks" … */
  readonly kind: string;
  /** "global_ops (function_trace_call)", "kprobe at vfs_read+0x5", "bpf_prog_0123456789abcdef_name" */
  readonly owner: string;
  /** "0x…" */
  readonly address: string;
  readonly bytes: number;
  /**
   * checked: all of it is as its owner must have written it; branches: only where its branches lead was checked; differs:
   * it is not as it must be; changing: its owner was at work on it; listed: what it must contain is not known, or its bytes
   * are not in the dump
   */
  readonly state: "checked" | "branches" | "differs" | "changing" | "listed";
  /** what is wrong with it, or who is changing it; null otherwise */
  readonly problem: string | null;
}

export interface GeneratedCounts {
  readonly pieces: number;
  /** a byte that two pieces share (a page of detours and each detour) counts for each kind once */
  readonly bytes: number;
  readonly checked: number;
  readonly differing: number;
}

/** The account of generated code; it is apart from that of the images' code. */
export interface GeneratedAccount extends GeneratedCounts {
  readonly kinds: Readonly<Record<string, GeneratedCounts>>;
}
