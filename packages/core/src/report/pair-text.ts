// The pairs of lock code that `diagnose` proved by itself, as text.
import type { PairProof } from "../results/pair-proof.ts";
import { counted, grouped } from "./format.ts";
import type { Paint } from "./paint.ts";

function line(proof: PairProof, width: number, paint: Paint): string {
  const pair = `${proof.lock} with ${proof.unlock}`.padEnd(width);
  const color =
    proof.verdict === "safe"
      ? paint.green
      : /^(not-proven|unsupported)$/.test(proof.verdict)
        ? paint.yellow
        : paint.red;
  const reason = proof.reason === null ? "" : `: ${proof.reason}`;
  const size = `${counted(proof.cpus, "CPU")} × ${counted(proof.rounds, "round")}, ${counted(proof.states, "state")}`;
  return `  ${pair}  ${color(proof.verdict)}${reason}${paint.dim(`  (${size})`)}`;
}

/** Empty without proofs. */
export function pairText(proofs: readonly PairProof[], paint: Paint): string {
  if (proofs.length === 0) return "";
  const width = Math.max(...proofs.map(({ lock, unlock }) => `${lock} with ${unlock}`.length));
  const states = proofs.reduce((sum, { states: n }) => sum + n, 0);
  const head = `lock code of ${grouped(proofs.length)} pair${proofs.length === 1 ? "" : "s"} run in every order of x86-TSO, ${grouped(states)} states:`;
  return `\n  ${head}\n${proofs.map((proof) => `  ${line(proof, width, paint)}\n`).join("")}`;
}
