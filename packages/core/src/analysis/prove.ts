// `prove`: run the real lock code in every order; verdict and witness.
import type { DumpAudit } from "../audit/audit.ts";
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { siteLengthAt } from "../audit/site-index.ts";
import { formatAddress, toKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import { resolvePlace } from "../kernel/where.ts";
import { type DumpProof, type DumpQuestion, type PairEnd, proveFromDump, refusal } from "../prove/dump/from-dump.ts";
import { DEFAULT_BOUNDS } from "../prove/search/explorer.ts";
import type { Preset } from "../prove/types.ts";
import type { ProveResult } from "../results/prove-results.ts";
import { readPatchState } from "../sites/base/patch-state.ts";
import { assume as assumeSlots } from "./assume.ts";
import { lockPrefixes } from "./lock-prefixes.ts";
import type { Parts } from "./parts.ts";
import { UsageError } from "./refusals.ts";
import { TOOL } from "./version.ts";

export interface ProofOptions {
  /** model CPUs, 1 to 4; default 2 */
  readonly cpus?: number;
  /** rounds of lock and unlock each; default 3 */
  readonly rounds?: number;
  /** default "tso", which is x86 */
  readonly memory?: string;
  /** "pv_lock_ops+0x28=__ticket_spin_unlock": sites of the slot are patched again first, as the kernel would */
  readonly assume?: readonly string[];
  /** Sleeping CPUs may also wake without a kick. */
  readonly spurious?: boolean;
  readonly bounds?: {
    /** distinct states */
    readonly states?: number;
    readonly seconds?: number;
    /** bytes of the whole process where the host tells what it holds, else of the prover's tables */
    readonly memoryBytes?: number;
  };
}

/** Below this nothing can be proved, however small the limit. */
const MIN_TABLES = 8 * 2 ** 20;

/** The place, and the length of the site when it is one inside a function. */
function pairEnd(parts: Parts, where: string, audit: DumpAudit | undefined): PairEnd {
  const { address, others } = resolvePlace(parts.kernel, where);
  if (others.length > 0)
    parts.note(`${where} is ${formatAddress(address)}; ${others.length} more symbols have that name`);
  const offset = toKernelOffset(address);
  if (offset === undefined || audit === undefined) return { address };
  return { address, length: siteLengthAt(audit.objects, offset) };
}

/** @throws UsageError for options out of range; MissingError for places that there are not */
export async function proofOf(
  parts: Parts,
  lockWhere: string,
  unlockWhere: string,
  options: ProofOptions,
): Promise<ProveResult> {
  const { kernel } = parts;
  const { memory: model = "tso", assume = [] } = options;
  const asked = { cpus: options.cpus ?? 2, ...options.bounds };
  if (!(asked.cpus >= 1 && asked.cpus <= 4)) throw new UsageError(`--cpus ${asked.cpus}: the model has 1 to 4 CPUs`);
  if (model !== "tso" && model !== "sc") throw new UsageError(`--memory ${model}: tso or sc`);
  const inside = [lockWhere, unlockWhere].some((where) => /\+/.test(where) || /^(0x)?[0-9a-f]{9,}$/i.test(where));
  const uniproc = asked.cpus > 1 && readPatchState(kernel, []).uniproc;
  const audit = inside || uniproc ? await parts.audit() : undefined;
  const assumed = assume.length > 0 ? await assumeSlots(parts, assume) : undefined;
  const presets: Preset[] = [...(assumed?.presets ?? [])];
  const remarks: string[] = [...(assumed?.remarks ?? [])];
  let { cpus } = asked;
  if (uniproc && audit !== undefined) {
    // The kernel itself puts the LOCK prefixes back when a second CPU comes up.
    const locks = lockPrefixes(audit);
    presets.push(...locks);
    // Without them the code is right on one CPU only, which is what this machine has.
    if (locks.length === 0) cpus = 1;
    remarks.push(
      locks.length > 0
        ? `this machine came up with one CPU: ${locks.length} LOCK prefixes are put back, as the kernel does for a second one`
        : "this machine came up with one CPU and no image tells where LOCK prefixes were removed: proved for one CPU",
    );
  }
  const bounds = {
    states: asked.states ?? DEFAULT_BOUNDS.states,
    seconds: asked.seconds ?? DEFAULT_BOUNDS.seconds,
    memoryBytes: asked.memoryBytes ?? DEFAULT_BOUNDS.memoryBytes,
  };
  // The explorer bounds its tables; what the process holds already is no part of these.
  const held = parts.options.heldBytes?.() ?? 0;
  const tables = Math.max(MIN_TABLES, bounds.memoryBytes - held);
  const rounds = Math.max(1, options.rounds ?? 3);
  const lock = pairEnd(parts, lockWhere, audit);
  const unlock = pairEnd(parts, unlockWhere, audit);
  const question: DumpQuestion = { lock, unlock, cpus, rounds, model, presets, spuriousWakeups: options.spurious };
  const answer =
    refusal(kernel, question) ??
    proveFromDump(kernel, question, {
      bounds: { ...bounds, memoryBytes: tables },
      onProgress: ({ states, seconds }) =>
        parts.progress(states / bounds.states, `${states} states, ${Math.round(states / Math.max(seconds, 0.001))}/s`),
    });
  parts.progress(1, "");
  return resultOf(
    parts,
    { ...answer, assumptions: [...remarks, ...answer.assumptions] },
    {
      lockWhere,
      unlockWhere,
      lock,
      unlock,
      cpus,
      rounds,
      model,
      assume,
      bounds,
    },
  );
}

interface Asked {
  readonly lockWhere: string;
  readonly unlockWhere: string;
  readonly lock: { readonly address: VirtualAddress };
  readonly unlock: { readonly address: VirtualAddress };
  readonly cpus: number;
  readonly rounds: number;
  readonly model: "tso" | "sc";
  readonly assume: readonly string[];
  readonly bounds: { readonly states: number; readonly seconds: number; readonly memoryBytes: number };
}

/** "memoryBytes 1073741824": the bound as it was asked for. */
function boundHit({ bound }: DumpProof["proof"], asked: Asked): string | null {
  if (bound === undefined) return null;
  return `${bound.name} ${bound.name === "memoryBytes" ? asked.bounds.memoryBytes : bound.value}`;
}

function resultOf({ kernel }: Parts, answer: DumpProof, asked: Asked): ProveResult {
  const { proof } = answer;
  return {
    schema: "palimpsest/prove/1",
    tool: TOOL,
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    lock: {
      where: asked.lockWhere,
      address: formatAddress(asked.lock.address),
      symbol: answer.lock,
      implementation: answer.families[0],
    },
    unlock: {
      where: asked.unlockWhere,
      address: formatAddress(asked.unlock.address),
      symbol: answer.unlock,
      implementation: answer.families[1],
    },
    assume: asked.assume,
    verdict: proof.verdict,
    reason: proof.reason ?? null,
    bounds: {
      cpus: proof.cpus,
      rounds: asked.rounds,
      memory: asked.model,
      ...asked.bounds,
      hit: boundHit(proof, asked),
    },
    states: answer.states,
    transitions: proof.transitions,
    seconds: answer.seconds,
    memoryBytes: proof.memoryBytes,
    assumptions: answer.assumptions,
    witness: proof.witness ?? null,
    replay: answer.file ?? null,
  };
}
