// The result of `sys`.
import type { DumpFacts, KernelFacts } from "./results.ts";
import type { Triage } from "./triage.ts";

/** Result of `sys`. */
export interface SysResult {
  readonly schema: "palimpsest/sys/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly triage: Triage;
  readonly notes: readonly string[];
}
