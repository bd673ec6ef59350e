// The mechanisms that rewrite kernel text. The order gives each its number in the per-byte credit map; 0 is none.
export const MECHANISMS = [
  "none",
  "alternatives",
  "paravirt",
  "smp-locks",
  "jump-labels",
  "static-calls",
  "ftrace",
  "retpolines",
  "returns",
  "call-thunks",
  "endbr",
  "runtime-consts",
  "kprobes",
  "cfi",
  "bpf",
  "livepatch",
  "text-poke",
  "hypercall-page",
] as const;

export type MechanismName = (typeof MECHANISMS)[number];

/** The number of a mechanism in credit maps. */
export function mechanismId(name: MechanismName): number {
  return MECHANISMS.indexOf(name);
}
