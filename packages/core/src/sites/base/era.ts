// What distinguishes kernels and is written nowhere in them: no symbol, no layout came with these changes, so the sites
// themselves tell, by the form that most of them hold. Read over all objects, never by the order in which they are asked.

/** How an inlined indirect branch is filled up to the length of the call that stood there. */
export const PADDINGS = ["nops", "int3-nops", "prefixes"] as const;
export type Padding = (typeof PADDINGS)[number];

/** How many sites of some objects show each of a few forms. */
export interface Votes {
  readonly seen: number;
  readonly votes: readonly number[];
}

export interface Era {
  /** gen_endbr_poison(): what stands where an ENDBR64 was sealed */
  readonly poison: Uint8Array;
  readonly padding: Padding;
  /** CFI_OFFSET: bytes from a prefix to its function */
  readonly cfiOffset: number;
  /** Calls are led to their counting sequences before alternatives are applied. */
  readonly callsFirst: boolean;
  /** Bit 0 of a jump entry's key says how it branches. */
  readonly entriesHoldBranch: boolean;
}
