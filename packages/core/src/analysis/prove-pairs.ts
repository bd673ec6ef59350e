// `diagnose` proves by itself what the dump's sites pair up: for each implementation that takes a lock and each that releases
// one, a representative of either side, in every order on up to two CPUs.
import type { DumpAudit } from "../audit/audit.ts";
import { formatAddress, fromKernelOffset } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Implementations } from "../locks/code/implementation.ts";
import { lockSitesOf } from "../locks/code/lock-sites.ts";
import { readLockSlots } from "../locks/code/slots.ts";
import { nameAt } from "../locks/findings/site-facts.ts";
import { type DumpProof, proveFromDump } from "../prove/dump/from-dump.ts";
import { type SitePair, sitePairs } from "../prove/dump/site-pairs.ts";
import type { Preset, WitnessStep } from "../prove/types.ts";
import { foldedText, turningPoints } from "../report/fold-steps.ts";
import type { PairProof } from "../results/pair-proof.ts";
import type { HangLockPair } from "../results/types.ts";
import { lockPrefixes } from "./lock-prefixes.ts";

/** Which pairs `diagnose` proves. */
export const PROVE_CHOICES = ["all", "mixed", "none"] as const;
export type ProveChoice = (typeof PROVE_CHOICES)[number];

const CPUS = 2;
/** What goes wrong with a mixed pair may show in the third round only; a matching one is the kernel's own code. */
const ROUNDS = { mixed: 3, matching: 2, sleeping: 1 };
/** A diagnosis must not wait for a proof that does not end. */
const BOUNDS = {
  mixed: { states: 2_000_000, seconds: 10, memoryBytes: 512 * 2 ** 20 },
  matching: { states: 500_000, seconds: 5, memoryBytes: 256 * 2 ** 20 },
};
/** Most pairs have some hundred states: then looking ahead costs more than it saves. */
const PLAIN_STATES = 5000;
/** Lines of a witness in a finding. */
const SHOWN_LINES = 24;

export interface ProvedPairs {
  readonly proofs: readonly PairProof[];
  readonly findings: readonly HangLockPair[];
  /** what could not be proved, one sentence each */
  readonly notes: readonly string[];
}

/** Proves the pairs that the sites of this dump form. */
export function provePairs(kernel: Kernel, audit: DumpAudit, choice: ProveChoice): ProvedPairs {
  const proofs: PairProof[] = [];
  const findings: HangLockPair[] = [];
  const notes: string[] = [];
  if (choice === "none") return { proofs, findings, notes };
  const implementations = new Implementations(kernel);
  const slots = readLockSlots(kernel, implementations);
  if (slots.length === 0) return { proofs, findings, notes };
  const sites = audit.objects.flatMap((object) => lockSitesOf(kernel, object, slots, implementations));
  const presets = audit.state.uniproc ? lockPrefixes(audit) : [];
  // Code without its LOCK prefixes is right on the one CPU that this machine has.
  const cpus = audit.state.uniproc && presets.length === 0 ? 1 : CPUS;
  for (const pair of sitePairs(kernel, sites)) {
    if (choice === "mixed" && !pair.mixed) continue;
    try {
      const { proof, finding } = provePair(kernel, pair, presets, cpus);
      proofs.push(proof);
      if (finding !== undefined) findings.push(finding);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      notes.push(`${pair.lock.name} with ${pair.unlock.name} could not be run: ${error.message}`);
    }
  }
  if (cpus === 1 && proofs.length > 0)
    notes.push("lock pairs are proved for one CPU: LOCK prefixes were removed, and no image tells where they were");
  return { proofs, findings, notes };
}

function provePair(
  kernel: Kernel,
  pair: SitePair,
  presets: readonly Preset[],
  cpus: number,
): { proof: PairProof; finding: HangLockPair | undefined } {
  const { lock, unlock, mixed } = pair;
  // A paravirt waiter counts to 32,768 and then sleeps: only looking ahead keeps that small, and one round shows a lost wake-up.
  const sleeps = [lock.family, unlock.family].includes("pv-queued");
  const rounds = sleeps ? ROUNDS.sleeping : mixed ? ROUNDS.mixed : ROUNDS.matching;
  const bounds = mixed ? BOUNDS.mixed : BOUNDS.matching;
  const question = { lock: lock.end, unlock: unlock.end, cpus, rounds, model: "tso", presets } as const;
  const small = { ...bounds, states: PLAIN_STATES };
  let answer = sleeps ? undefined : proveFromDump(kernel, question, { bounds: small, plain: true });
  if (answer === undefined || answer.proof.bound?.name === "states")
    answer = proveFromDump(kernel, question, { bounds });
  const { proof, states, seconds } = answer;
  const { verdict } = proof;
  const bound = proof.bound === undefined ? null : `bound ${proof.bound.name} ${proof.bound.value}`;
  return {
    proof: {
      families: [lock.family, unlock.family],
      lock: lock.name,
      unlock: unlock.name,
      sites: [lock.sites, unlock.sites],
      verdict,
      reason: proof.reason ?? bound,
      cpus: proof.cpus,
      rounds,
      states,
      seconds,
    },
    finding:
      verdict === "safe" || verdict === "not-proven" || verdict === "unsupported" || !(mixed || pair.matching)
        ? undefined
        : findingOf(kernel, pair, answer, verdict, rounds),
  };
}

function findingOf(
  kernel: Kernel,
  { lock, unlock, mixed }: SitePair,
  { proof, states }: DumpProof,
  verdict: HangLockPair["verdict"],
  rounds: number,
): HangLockPair {
  const cpus = `${proof.cpus} CPU${proof.cpus === 1 ? "" : "s"}`;
  return {
    id: "hang.lock-pair",
    severity: mixed ? "error" : "warning",
    address: formatAddress(fromKernelOffset(unlock.first.at)),
    length: unlock.first.length,
    object: unlock.first.object,
    symbol: nameAt(kernel, unlock.first.at),
    title: `${lock.code} and ${unlock.code} on one lock: ${verdict}, proved on their instructions`,
    notes: [
      `${proof.reason ?? verdict}; ${cpus}, ${states} states in every order of x86-TSO.`,
      `palimpsest prove DUMP ${lock.where} ${unlock.where} shows every instruction; --full every lap of its loops.`,
    ],
    verdict,
    lock: lock.code,
    unlock: unlock.code,
    cpus: proof.cpus,
    rounds,
    states,
    witness: witnessLines(proof.witness?.steps ?? []),
  };
}

/** The steps that matter: where the CPUs of the model take turns, what changes the word, the last lap of each loop. */
function witnessLines(steps: readonly WitnessStep[]): string[] {
  const lines = turningPoints(steps).map((each) => ("step" in each ? stepLine(each.step) : foldedText(each)));
  const left = lines.length - SHOWN_LINES;
  return left <= 0 ? lines : [`… ${left} lines before`, ...lines.slice(-SHOWN_LINES)];
}

const stepLine = (step: WitnessStep): string =>
  `model CPU ${step.cpu}  ${step.symbol ?? step.address}  ${step.instruction}` +
  (step.lockAfter === undefined || step.lockAfter === step.lockBefore
    ? ""
    : `  lock ${step.lockBefore} → ${step.lockAfter} ${step.lock ?? ""}`);
