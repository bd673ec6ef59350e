// The result of `types`: how a C type is laid out in this kernel.
import type { DumpFacts, KernelFacts } from "./results.ts";

export interface MemberFact {
  readonly name: string;
  /** bytes from the start of the outermost structure */
  readonly offset: number;
  readonly size: number;
  /** C: "struct list_head", "char[56]" */
  readonly type: string;
  /** of bit fields, counted from `offset` */
  readonly bitOffset?: number;
  readonly bitSize?: number;
  /** elements of an array */
  readonly count?: number;
}

/** Result of `types`. */
export interface TypesResult {
  readonly schema: "palimpsest/types/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly types: readonly {
    /** "struct module", "struct module.mem[0]", "enum system_states" */
    readonly name: string;
    readonly kind: "struct" | "union" | "enum" | "other";
    /** null when only some members are known */
    readonly size: number | null;
    /** where the layout comes from */
    readonly source: string;
    readonly members: readonly MemberFact[];
    readonly enumerators: readonly { readonly name: string; readonly value: string }[];
  }[];
  /** names that a pattern matches */
  readonly names: readonly string[];
  /** names beyond the limit */
  readonly leftOut: number;
}
