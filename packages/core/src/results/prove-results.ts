// Result of `prove`: the verdict, the bounds it holds within, and the witness when there is one.
import type { DumpFacts, KernelFacts } from "./results.ts";

/**
 * "bad-end": every CPU finishes, but the lock word is not free (or another end condition fails); "trap": the code runs
 * into BUG() or an invalid instruction.
 */
export type ProveVerdict = "safe" | "hang" | "two-holders" | "bad-end" | "trap" | "not-proven" | "unsupported";

export interface ProveStep {
  readonly cpu: number;
  /** "instruction", "drain" (a store leaves the CPU's store buffer) or "model" */
  readonly kind: string;
  readonly address: string;
  readonly symbol?: string;
  readonly instruction: string;
  readonly lockBefore?: string;
  readonly lockAfter?: string;
  /** the lock word decoded */
  readonly lock?: string;
  readonly storeBuffer?: readonly string[];
}

export interface ProveWitness {
  readonly problem: string;
  readonly contextSwitches: number;
  readonly steps: readonly ProveStep[];
  readonly end: readonly {
    readonly cpu: number;
    readonly state: string;
    readonly address: string;
    readonly symbol?: string;
    readonly cycle?: readonly { readonly address: string; readonly symbol?: string; readonly instruction: string }[];
  }[];
  /** moves for --replay */
  readonly schedule: readonly string[];
  readonly shared: readonly string[];
}

/** Result of `prove --replay`: whether the witness of a saved proof still happens as it is written. */
export interface ReplayResult {
  readonly schema: "palimpsest/replay/1";
  /** every step and every CPU's end come out as written */
  readonly ok: boolean;
  /** what the saved proof says */
  readonly verdict: Exclude<ProveVerdict, "safe" | "not-proven">;
  /** what went otherwise; null when all is as written */
  readonly problem: string | null;
  /** instructions and drains that were run */
  readonly steps: number;
}

export interface ProveResult {
  readonly schema: "palimpsest/prove/1";
  readonly tool: string;
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly lock: {
    readonly where: string;
    readonly address: string;
    readonly symbol: string;
    readonly implementation: string;
  };
  readonly unlock: {
    readonly where: string;
    readonly address: string;
    readonly symbol: string;
    readonly implementation: string;
  };
  /** slots whose sites were re-patched before, "pv_lock_ops+0x28=__ticket_spin_unlock" */
  readonly assume: readonly string[];
  readonly verdict: ProveVerdict;
  readonly reason: string | null;
  readonly bounds: {
    readonly cpus: number;
    readonly rounds: number;
    readonly memory: "tso" | "sc";
    readonly states: number;
    readonly seconds: number;
    readonly memoryBytes: number;
    /** the bound that was hit, for "not-proven" */
    readonly hit: string | null;
  };
  readonly states: number;
  readonly transitions: number;
  readonly seconds: number;
  readonly memoryBytes: number;
  readonly assumptions: readonly string[];
  readonly witness: ProveWitness | null;
  /** the witness with every byte that its replay reads ("palimpsest/witness/1"), for prove --replay */
  readonly replay: unknown;
}
