// The result of `read`: bytes of the dump's memory, as they are.
import type { DumpFacts, KernelFacts } from "./results.ts";

export interface MemberValueFact {
  /** "list.next", "mem[0].base" */
  readonly path: string;
  /** bytes from the structure's start */
  readonly offset: number;
  readonly size: number;
  readonly type: string;
  readonly bitOffset?: number;
  readonly bitSize?: number;
  /** as a person reads it; null when it is not in the dump */
  readonly value: string | null;
}

/** Result of `read`. */
export interface ReadResult {
  readonly schema: "palimpsest/read/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly address: string;
  /** of virtual addresses: where it lies in the machine's memory; null when nothing is mapped there */
  readonly physical: string | null;
  /** "pv_ops+0x230", or "" */
  readonly symbol: string;
  /** bytes asked for */
  readonly length: number;
  /** 16 a row; "??" for a byte that is not there; rows without any byte are left out */
  readonly rows: readonly { readonly address: string; readonly bytes: string; readonly ascii: string }[];
  /** what the dump cannot answer */
  readonly absent: readonly { readonly address: string; readonly length: number; readonly reason: string }[];
  /** with --type */
  readonly type: {
    readonly name: string;
    readonly source: string;
    readonly members: readonly MemberValueFact[];
    readonly leftOut: number;
  } | null;
}
