// What `diagnose` proved by itself: the pairs of lock and unlock code that the dump's sites form, each run in every order.

export interface PairProof {
  /** "queued", "ticket", "byte", "pv-queued" or "unknown", of each side */
  readonly families: readonly [string, string];
  /** The code that was run: "_raw_spin_lock", "redo_fd_request+0x4ea [floppy]". */
  readonly lock: string;
  readonly unlock: string;
  /** Sites of the dump that run each side's implementation. */
  readonly sites: readonly [number, number];
  readonly verdict: "safe" | "hang" | "two-holders" | "bad-end" | "trap" | "not-proven" | "unsupported";
  /** What went wrong or could not be run; null for "safe". */
  readonly reason: string | null;
  /** All numbers of CPUs up to this one were run, for that many rounds each, in every order that x86-TSO allows. */
  readonly cpus: number;
  readonly rounds: number;
  readonly states: number;
  readonly seconds: number;
}
