// `diagnose` proves by itself what the dump's sites pair up: for each implementation that takes a mixed lock and each that
// releases it, one representative site of either side.
import type { DumpAudit } from "../audit/audit.ts";
import { siteLengthAt } from "../audit/site-index.ts";
import { toKernelOffset, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { HangLockPair, LockMixed, LockSide } from "../findings/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type PairEnd, proveFromDump } from "../prove/from-dump.ts";

const CPUS = 2;
const ROUNDS = 3;
/** A diagnosis must not wait for a proof that does not end. */
const BOUNDS = { states: 2_000_000, seconds: 10, memoryBytes: 512 * 2 ** 20 };
const SHOWN_STEPS = 6;

export interface ProvedPairs {
  readonly findings: readonly HangLockPair[];
  /** what was proved safe or could not be proved, one sentence each */
  readonly notes: readonly string[];
}

/** Proves the pairs of a mixed lock. */
export function provePairs(kernel: Kernel, audit: DumpAudit, mixed: LockMixed): ProvedPairs {
  const findings: HangLockPair[] = [];
  const notes: string[] = [];
  for (const taker of oneOfEach(mixed.takers)) {
    for (const releaser of oneOfEach(mixed.releasers)) {
      if (taker.family === releaser.family) continue;
      const lock = functionEnd(kernel, taker);
      const unlock = siteEnd(audit, releaser) ?? functionEnd(kernel, releaser);
      if (lock === undefined || unlock === undefined) continue;
      try {
        const { proof, states } = proveFromDump(
          kernel,
          { lock, unlock, cpus: CPUS, rounds: ROUNDS, model: "tso" },
          { bounds: BOUNDS },
        );
        const { verdict, witness } = proof;
        const pair = `${taker.function} with ${releaser.function}`;
        if (verdict === "safe" || verdict === "not-proven" || verdict === "unsupported") {
          notes.push(`${pair}: ${verdict}${proof.reason === undefined ? "" : ` (${proof.reason})`}`);
          continue;
        }
        const place = releaser.places[0];
        findings.push({
          id: "hang.lock-pair",
          severity: "error",
          address: place?.address ?? mixed.address,
          length: unlock.length ?? 1,
          object: mixed.object,
          symbol: place?.symbol ?? mixed.symbol,
          title: `${taker.function} and ${releaser.function} on one lock: ${verdict}, proved on their instructions`,
          notes: [
            `${proof.reason ?? verdict}; ${proof.cpus} CPU${proof.cpus === 1 ? "" : "s"}, ${states} states in every order of x86-TSO.`,
            `palimpsest prove DUMP ${taker.function} ${place?.symbol.replace(/^(\S+) \[(\w+)\]$/, "$2:$1") ?? releaser.function} shows the whole witness.`,
          ],
          verdict,
          lock: taker.function,
          unlock: releaser.function,
          cpus: proof.cpus,
          rounds: ROUNDS,
          states,
          witness: (witness?.steps ?? [])
            .slice(-SHOWN_STEPS)
            .map(
              (step) =>
                `CPU ${step.cpu}  ${step.symbol ?? step.address}  ${step.instruction}` +
                (step.lockAfter === undefined || step.lockAfter === step.lockBefore
                  ? ""
                  : `  lock ${step.lockBefore} → ${step.lockAfter} ${step.lock ?? ""}`),
            ),
        });
      } catch (error) {
        if (!(error instanceof PalimpsestError)) throw error;
        notes.push(`${taker.function} with ${releaser.function} could not be run: ${error.message}`);
      }
    }
  }
  return { findings, notes };
}

/** One side a family: the one with the most sites, no trylocks (they do not wait). */
function oneOfEach(sides: readonly LockSide[]): LockSide[] {
  const best = new Map<string, LockSide>();
  for (const side of sides) {
    if (/trylock/.test(side.function)) continue;
    const known = best.get(side.family);
    if (known === undefined || side.sites > known.sites) best.set(side.family, side);
  }
  return [...best.values()];
}

function functionEnd(kernel: Kernel, side: LockSide): PairEnd | undefined {
  // The late side's functions are a module's where a module changed the slots.
  const address = kernel.find(side.function) ?? kernel.allSymbols.lookup(side.function)?.address;
  return address && { address };
}

/** The first place of the side as an inlined site. */
function siteEnd(audit: DumpAudit, side: LockSide): PairEnd | undefined {
  const place = side.places[0];
  if (place === undefined) return undefined;
  const address: VirtualAddress = virtualAddress(BigInt(place.address));
  const offset = toKernelOffset(address);
  if (offset === undefined) return undefined;
  const length = siteLengthAt(audit.objects, offset);
  return length === undefined ? undefined : { address, length };
}
